"""`export_distilled`: write a set in a format to a file or folder, and send it to the hub if asked to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from atom_distill.artifact.card.render_card import render_card
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import CARD_FILE
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.files import atomic_folder, atomic_path, expand_home, write_json, write_text
from atom_distill.base.own_folders import EXPORT_MARK
from atom_distill.base.parsing import parse_json
from atom_distill.base.writable import require_writable
from atom_distill.exporting.clipping import Clipping, clipping_of
from atom_distill.exporting.formats import FORMATS, Format
from atom_distill.exporting.hub_folder import hub_layout, own_scores
from atom_distill.exporting.upload import Destination


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        form: name of the format.
        path: the file or folder.
        example: Python code that loads it and defines `loader` to train on.
        clipping: how much the pictures lose; None if the export holds the tensors themselves.
        address: its address on the hub, if it was uploaded.
    """

    form: str
    path: Path
    example: str
    clipping: Clipping | None = None
    address: str | None = None


def export_distilled(
    distilled: DistilledDataset,
    to: str,
    out: str | Path | None = None,
    *,
    force: bool = False,
    push: str | None = None,
    private: bool = False,
) -> Export:
    """Write a distilled set for other tools, bit for bit in model space or as pictures.

    Args:
        distilled: the set.
        to: "pt" (torch, the layout of DC's and DM's result files), "npz" (numpy), "parquet" (a table with pictures and
            tensors), "safetensors" (a folder with the stored values, and a decoder on its card), "imagefolder" (class
            folders of PNGs), or "hf" (a folder laid out for the Hugging Face hub).
        out: file or folder; None for one next to the run folder, with the same name and a suffix.
        force: replace an existing export.
        push: USER/NAME of a data set on the hub to upload the folder to; for "hf".
        private: whether a new data set on the hub is visible to its owner only.

    Raises:
        UnknownNameError: there is no such format.
        ConfigError: the options contradict each other, or the repository already holds files or is not `private`.
        ArtifactError: `out` already exists.
        HubError: nobody is logged in, or the hub does not answer or refuses.
    """
    form = FORMATS.get(to)
    if push is not None and not form.hub:
        raise ConfigError(f'`push` sends a folder laid out for the hub: give `to="hf"`, not `to="{to}"`')
    if private and push is None:
        raise ConfigError("`private` is for `push` USER/NAME: it hides the data set on the hub")
    path = _place(distilled, to, form, out)
    _check_free(path, form, force=force)
    require_writable(path, "out")
    destination = None if push is None else Destination(push, private=private, force=force)
    distilled = replace(distilled, scores=own_scores(distilled))  # those of the other set of a run stay behind
    with atomic_path(path) if form.suffix else atomic_folder(path) as temporary:
        form.write(distilled, temporary)
        if push is not None:  # its card can give its name there
            write_text(temporary / CARD_FILE, render_card(distilled.card_content(), hub_layout(distilled, push)))
        if not form.suffix:
            write_json(temporary / EXPORT_MARK, {"format": to, "images": len(distilled)})
    return Export(
        form=to,
        path=path,
        example=form.example(distilled.card_content(), push or path.as_posix()),
        clipping=clipping_of(distilled) if form.clips else None,
        address=None if destination is None else destination.send(path),
    )


def _place(distilled: DistilledDataset, to: str, form: Format, out: str | Path | None) -> Path:
    """Return where to write: `out`, or else `RUN.pt`, `RUN.npz` or `RUN-FORMAT`."""
    if out is not None:
        path = expand_home(out)
        if form.suffix and path.suffix != form.suffix:
            raise ConfigError(f'`to="{to}"` writes one file: the name of `out` must end in {form.suffix}, got {path}')
        return path
    if distilled.folder is None:
        raise ConfigError("the set is in memory only: give the place of the export as `out`")
    run = distilled.folder.resolve() if distilled.folder.name in ("", "..") else distilled.folder
    return run.with_name(f"{run.name}{form.suffix or f'-{to}'}")


def _check_free(path: Path, form: Format, *, force: bool) -> None:
    """Refuse to overwrite anything except, with `force`, an export."""
    if not path.exists() or (not form.suffix and path.is_dir() and not any(path.iterdir())):
        return
    if not (path.is_file() if form.suffix else _is_export(path)):
        raise ArtifactError(f"{path} exists already and is not an export of this format: give another `out`")
    if not force:
        raise ArtifactError(f"{path} exists already: give another `out`, or `force=True` to replace it")


def _is_export(folder: Path) -> bool:
    try:
        return "format" in parse_json((folder / EXPORT_MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False

"""A whole export: the place, the files, the proof that they are ours, the hub."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atom_distill.artifact.card import card
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import CARD_FILE
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.files import atomic_folder, atomic_path, write_json, write_text
from atom_distill.exporting.clipping import Clipping, clipping_of
from atom_distill.exporting.formats import FORMATS, Format
from atom_distill.exporting.hub_folder import hub_layout
from atom_distill.exporting.upload import Destination

MARK_FILE = "export.json"
"""Says that a folder is an export of ours, and may be replaced by another."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        form: name of the format.
        path: the file or folder.
        example: four lines of Python that load it and leave `loader` to train on.
        clipping: what the pictures lose; None where the tensors themselves are in it.
        address: of it on the hub, if it was sent there.
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
            tensors), "imagefolder" (class folders of PNGs), or "hf" (a folder laid out for the Hugging Face hub).
        out: file or folder; without it one beside the run's folder, named as that.
        force: replace an export that is there.
        push: USER/NAME of a data set on the hub that is to hold the folder; for "hf".
        private: whether a new one on the hub is to be seen by its owner only.

    Raises:
        UnknownNameError: there is no such format.
        ConfigError: the options contradict each other, or the repository is in use.
        ArtifactError: something is at `out` already.
        HubError: nobody is logged in, or the hub does not answer or refuses.
    """
    form = FORMATS.get(to)
    if push is not None and not form.hub:
        raise ConfigError(f"--push sends a folder laid out for the hub: give --to hf, not --to {to}")
    if private and push is None:
        raise ConfigError("--private is for --push USER/NAME; what stays on this machine is private anyway")
    path = _place(distilled, to, form, out)
    _check_free(path, form, force=force)
    destination = None if push is None else Destination(push, private=private, force=force)
    with _whole(path, form) as temporary:
        form.write(distilled, temporary)
        if push is not None:  # its card can say what it is called there
            write_text(temporary / CARD_FILE, card(distilled, hub_layout(distilled, push)))
        if not form.suffix:
            write_json(temporary / MARK_FILE, {"format": to, "images": len(distilled)})
    address = None if destination is None else destination.send(path)
    return Export(
        form=to,
        path=path,
        example=form.example(distilled, push or path.as_posix()),
        clipping=clipping_of(distilled) if form.clips else None,
        address=address,
    )


def _place(distilled: DistilledDataset, to: str, form: Format, out: str | Path | None) -> Path:
    """Say where it goes: `RUN.pt`, `RUN.npz`, or `RUN-FORMAT` where nothing else is asked for."""
    if out is not None:
        path = Path(out).expanduser()
        if form.suffix and path.suffix != form.suffix:
            raise ConfigError(f"--out {path}: --to {to} writes one file, whose name is to end in {form.suffix}")
        return path
    if distilled.folder is None:
        raise ConfigError("the set is in memory only: say where to export it to with out=...")
    run = distilled.folder.resolve() if distilled.folder.name in ("", "..") else distilled.folder
    return run.with_name(f"{run.name}{form.suffix or f'-{to}'}")


def _check_free(path: Path, form: Format, *, force: bool) -> None:
    """Refuse to write over what is there, but for an export that is to be replaced."""
    if not path.exists() or (not form.suffix and path.is_dir() and not any(path.iterdir())):
        return
    replaceable = path.is_file() if form.suffix else _is_export(path)
    if not replaceable:
        raise ArtifactError(f"{path} is there already and is no export of that kind: give another --out")
    if not force:
        raise ArtifactError(f"{path} is there already: give another --out, or --force to replace it")


def _is_export(folder: Path) -> bool:
    try:
        return "format" in json.loads((folder / MARK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


@contextlib.contextmanager
def _whole(path: Path, form: Format) -> Iterator[Path]:
    """Give a temporary file or folder that takes its place once it is whole."""
    with atomic_path(path) if form.suffix else atomic_folder(path) as temporary:
        yield temporary

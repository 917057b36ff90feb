"""`atom import`: turn a distilled set that others published into a run folder."""

# ruff: noqa: N999 (a command's module has its name, and none imports it by statement)

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.writable import require_writable
from atom_distill.cli.options import CommandOptions, DataOptions, JsonFlag, group, parse, shown
from atom_distill.cli.output import print_json, print_line

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset

_DESCRIPTION = (
    "Read a distilled set that others published, and write a run folder like those of `atom distill`, which `atom "
    "evaluate` can score. Reads the .pt files of DC, DSA, DM, DataDAM, MTT, DATM, IDC, DREAM and NCFM, images and "
    "labels in .pt, .safetensors, .npz or .npy files, class folders of pictures (also of SRe2L and RDED), and what "
    "`atom export` wrote. Files that contain code are refused."
)


class ImportCommand(CommandOptions):
    """Options of `atom import`."""

    source: tyro.conf.Positional[Path] = Field(
        description="A file of images (and labels), a folder with such files, or class folders of pictures."
    )
    dataset: Annotated[str | None, tyro.conf.arg(name="as", help_behavior_hint="(required)")] = Field(
        default=None, description="The data set that was distilled: a name or a path."
    )
    preprocess: Annotated[Literal["zca", "normalize", "legacy-normalize", "none"] | None, shown("as recorded")] = Field(
        default=None,
        description="How the images were preprocessed, or pixels (pictures) are to be; legacy-normalize: by the "
        "constants in the code of DC, DM, MTT; none: intensities in 0..1 (IDC, DREAM, NCFM), which are then "
        "normalized. Our own exports record it, except for imagefolder.",
    )
    factor: Literal[1, 2, 3, 4] = Field(
        default=1, description="Each image is a grid of FACTOR x FACTOR smaller ones, as in IDC, DREAM and NCFM."
    )
    out: Annotated[Path | None, shown("runs/DATASET-METHOD-ipcN")] = Field(
        default=None, description="Folder for the result."
    )
    labels: Annotated[Path | None, shown("next to the images")] = Field(default=None, description="File of the labels.")
    experiment: Annotated[int | None, shown("the last")] = Field(
        default=None, description="Which set of a DC, DSA, DM or DataDAM result file, counted from 0."
    )
    method: str = Field(default="imported", description="Name of the method that made it, e.g. dm.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")
    data: DataOptions = group(DataOptions)


def command(arguments: Sequence[str]) -> None:
    """Run `atom import`."""
    options = parse(ImportCommand, command="import", description=_DESCRIPTION, arguments=arguments)
    if options.dataset is None:
        raise ConfigError("which data set was distilled? Give it with --as, e.g. --as cifar10")
    if not re.fullmatch(r"[\w.+ -]+", options.method) or options.method.strip(". ") == "":
        raise ConfigError(f"--method {options.method!r} must be a name of letters, digits, spaces and . + - _ only")
    from atom_distill.artifact.folder import holds_run
    from atom_distill.importing.import_distilled import import_distilled

    if options.out is not None and holds_run(options.out):
        raise ArtifactError(f"{options.out} already holds a run; give another --out")
    require_writable(options.out or Path("runs"), "out")
    distilled = import_distilled(
        options.source,
        options.data.load(options.dataset),
        options.preprocess,
        factor=options.factor,
        labels=options.labels,
        experiment=options.experiment,
        method=options.method,
    )
    ipc = distilled.settings.get("ipc")
    size = f"budget{len(distilled.row_labels)}" if ipc is None else f"ipc{ipc}"
    out = options.out or Path("runs") / f"{distilled.dataset['name']}-{options.method}-{size}"
    if holds_run(out):
        raise ArtifactError(f"{out} already holds a run; give another --out")
    distilled.save(out)
    _print(distilled, out, as_json=options.json_output)


def _print(distilled: DistilledDataset, out: Path, *, as_json: bool) -> None:
    from atom_distill.artifact.card.layout import GRID_FILE
    from atom_distill.base.progress import note

    rate, picture, is_soft = distilled.settings.get("network_lr"), out / GRID_FILE, distilled.soft_labels is not None
    if as_json:
        facts = {"folder": out, "picture": picture, "images": len(distilled), "ipc": distilled.ipc}
        print_json({**facts, **distilled.record["imported"], "soft_labels": is_soft, "network_lr": rate})
        return
    soft = ", soft labels" if is_soft else ""
    rows, ipc = len(distilled.row_labels), distilled.settings.get("ipc")
    each = "" if ipc is None else f", {ipc} per class"
    grids = "" if rows == len(distilled) else f", which hold {len(distilled)} smaller ones"
    print_line(f"{rows} images{each}{grids}{soft}: {out}")
    print_line(f"picture:  {picture}")
    following = f"atom evaluate {shlex.quote(str(out))}"
    print_line(f"next:     {following}")
    if rate is not None:
        note(f"the set comes with a learning rate of {rate:.4g} for networks: {following} --lr {rate:.4g}")

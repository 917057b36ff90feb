"""`atom export`: write a distilled set for other tools, or to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

from atom_distill.base.errors import ConfigError
from atom_distill.cli.options import CommandOptions, Flag, JsonFlag, parse, shown
from atom_distill.cli.output import print_json, print_line
from atom_distill.cli.runs import RUN_HELP, head_of, load_named

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.exporting.export_distilled import Export

_DESCRIPTION = (
    "Write a distilled set for other tools, and print the lines of Python that load it. Exact tensors in model space: "
    "pt (torch, for the evaluation scripts of DC and DM), npz (numpy), parquet, and hf (parquet in a folder laid out "
    "for the Hugging Face hub, to which --push uploads it). Stored values, as small as the set, with a short decoder: "
    "safetensors. Pictures only, clipped to the range of pixels: imagefolder (class folders of PNGs)."
)


class ExportCommand(CommandOptions):
    """Options of `atom export`."""

    run: tyro.conf.Positional[Path] = Field(description=f"{RUN_HELP}.")
    to: Annotated[
        Literal["imagefolder", "parquet", "hf", "pt", "npz", "safetensors"] | None,
        tyro.conf.arg(help_behavior_hint="(required)"),
    ] = Field(default=None, description="Format.")
    out: Annotated[Path | None, shown("RUN.pt, RUN.npz, or RUN-FORMAT")] = Field(
        default=None, description="File or folder for the result."
    )
    which: Literal["last", "best"] = Field(
        default="last", description="The run's last images, or those that were best on held-out training images."
    )
    ipc: Annotated[int | None, shown("all")] = Field(
        default=None,
        description="Export only the first stored images of each class; in a nested run, these are a set of that size.",
    )
    bytes: Annotated[int | None, shown("all")] = Field(
        default=None, description="The same, as many images as take at most so many bytes per class."
    )
    force: Flag = Field(
        default=False, description="Replace an existing export; with --push, upload a new version of it to the hub."
    )
    push: Annotated[str | None, tyro.conf.arg(metavar="USER/NAME", help_behavior_hint="(default: no upload)")] = Field(
        default=None, description="Data set on the Hugging Face hub to upload it to, with the login of `hf auth login`."
    )
    private: Flag = Field(default=False, description="Make a new data set on the hub visible to its owner only.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom export`."""
    options = parse(ExportCommand, command="export", description=_DESCRIPTION, arguments=arguments)
    if options.to is None:
        raise ConfigError("to which format? Give --to pt, npz, parquet, safetensors, imagefolder or hf")
    from atom_distill.exporting.export_distilled import export_distilled
    from atom_distill.exporting.formats import FORMATS

    distilled = load_named(options.run, options.which)
    out = options.out
    if options.ipc is not None or options.bytes is not None:
        distilled = head_of(distilled, options.ipc, options.bytes)
    if out is None and distilled.folder is None:  # a part, or a set of the package: no folder says where
        first = "" if distilled.first is None else f"-first-{distilled.first}"
        suffix = FORMATS.get(options.to).suffix or f"-{options.to}"
        out = options.run.resolve().with_name(f"{options.run.resolve().name}{first}{suffix}")
    export = export_distilled(
        distilled, options.to, out, force=options.force, push=options.push, private=options.private
    )
    _print(export, distilled, as_json=options.json_output)


def _print(export: Export, distilled: DistilledDataset, *, as_json: bool) -> None:
    from atom_distill.base.progress import note

    soft = distilled.soft_labels is not None
    if as_json:
        facts = {"format": export.form, "path": export.path, "images": len(distilled), "soft_labels": soft}
        clipping = None if export.clipping is None else asdict(export.clipping)
        print_json({**facts, "clipping": clipping, "hub": export.address, "example": export.example})
        return
    if export.clipping is not None:
        note(f"in the pictures, {export.clipping} The other formats are exact")
    if soft and export.form == "pt":
        note(
            "the set has soft labels: they are under 'soft_labels'; 'data' has class numbers, as the DC scripts expect"
        )
    print_line(f"{len(distilled)} images{', soft labels' if soft else ''}: {export.path}")
    if export.address is not None:
        print_line(f"on the hub: {export.address}")
    print_line("to train on it:\n")
    print_line(export.example.rstrip())

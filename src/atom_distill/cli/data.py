"""`atom data`: fetch, check and describe a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import Field

from atom_distill.base.errors import ConfigError
from atom_distill.base.plain_text import abbreviated, one_line
from atom_distill.base.writable import require_writable
from atom_distill.cli.options import DATASET_HELP, CommandOptions, DataOptions, Flag, JsonFlag, group, parse, shown
from atom_distill.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

    from atom_distill.data.dataset import ImageDataset

_DESCRIPTION = (
    "Fetch a data set (from the cache, --data-dir or the hub), check it and describe it: counts, sizes, mean, standard "
    "deviation, and a contact sheet as PNG."
)
_CLASSES_SHOWN = 12
_MAX_NAME = 32  # characters, which may be two columns wide: the counts stay visible
_COPIES_SHOWN = 3
_DUPLICATES = {
    "across_splits": "both in the training and in the test split, which makes test accuracies too high",
    "across_classes": "in more than one class, which no network can classify correctly",
}


class DataCommand(CommandOptions):
    """Options of `atom data`."""

    dataset: tyro.conf.Positional[str] = Field(description=DATASET_HELP)
    data: DataOptions = group(DataOptions)
    refresh: Flag = Field(default=False, description="Fetch and decode again, even if it is cached.")
    sheet: Annotated[Path | None, shown("./NAME-contact-sheet.png")] = Field(
        default=None, description="File for the contact sheet."
    )
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom data`."""
    options = parse(DataCommand, command="data", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.base.files import atomic_path
    from atom_distill.base.own_folders import CONTACT_SHEET
    from atom_distill.data.contact_sheet import contact_sheet
    from atom_distill.data.describe import describe

    if options.sheet is not None and options.sheet.suffix.lower() != ".png":
        raise ConfigError(f"--sheet is a PNG: give a name that ends in .png, got {options.sheet}")
    require_writable(options.sheet or Path("contact-sheet.png"), "sheet")
    if options.sheet is not None and not options.sheet.name.endswith(CONTACT_SHEET):
        _refuse_foreign(options.sheet)
    dataset = options.data.load(options.dataset, refresh=options.refresh)
    facts = describe(dataset)
    sheet = options.sheet or Path(f"{dataset.name}{CONTACT_SHEET}")
    _keep_out_of(dataset, sheet)
    with atomic_path(sheet) as temporary:
        contact_sheet(dataset).save(temporary, format="PNG", pnginfo=_marked())
    facts["contact_sheet"] = str(sheet)
    if options.json_output:
        print_json(facts)
    else:
        _print(facts)


_MARK, _MARKED_BY = "Software", "atom-distill contact sheet"
"""Text of a contact sheet's file, by which a later command knows that it may replace it."""


def _marked() -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    marks = PngInfo()
    marks.add_text(_MARK, _MARKED_BY)
    return marks


def _refuse_foreign(sheet: Path) -> None:
    """Raise an error if a file would be replaced that is no contact sheet."""
    from PIL import Image

    if not sheet.exists():
        return
    try:
        with Image.open(sheet) as picture:
            found = picture.info.get(_MARK)
    except OSError:
        found = None
    if found != _MARKED_BY:
        raise ConfigError(f"{sheet} is not a contact sheet of this tool: move it away, or give another file as --sheet")


def _keep_out_of(dataset: ImageDataset, sheet: Path) -> None:
    """Raise an error if a contact sheet would become an image of a class."""
    from atom_distill.base.own_folders import CONTACT_SHEET

    folder = Path(str(dataset.request.get("name_or_path")))
    if folder.is_dir() and folder in sheet.resolve().parents and not sheet.name.endswith(CONTACT_SHEET):
        raise ConfigError(
            f"--sheet {sheet} lies in the data; give a name outside of {folder}, or one like x{CONTACT_SHEET}"
        )


def _print(facts: dict[str, Any]) -> None:
    channels, height, width = facts["image_shape"]
    names = facts["class_names"]
    print_line(f"{facts['name']}: {facts['classes']} classes, {height}x{width}, {channels} channels")
    print_line(f"source   {one_line(facts['source'])}")
    print_line(f"mean     {', '.join(f'{value:.4f}' for value in facts['mean'])}  (over pixels, of 0..1)")
    print_line(f"std      {', '.join(f'{value:.4f}' for value in facts['std'])}")
    if facts["skipped"]:
        print_line(f"skipped  {facts['skipped']} unreadable images")
    if facts["dark"]:
        print_line(f"dark     {facts['dark']}")
    for kind, told in _DUPLICATES.items():
        _print_duplicates(told, **facts["duplicates"][kind])
    rows = [
        [abbreviated(name, _MAX_NAME), str(facts["train"]["per_class"][label]), str(facts["test"]["per_class"][label])]
        for label, name in enumerate(names[:_CLASSES_SHOWN])
    ]
    if len(names) > _CLASSES_SHOWN:
        rows.append([f"... {len(names) - _CLASSES_SHOWN} more", "", ""])
    rows.append(["all", str(facts["train"]["images"]), str(facts["test"]["images"])])
    print_table("images", ["class", "train", "test"], rows)
    print_line(f"contact sheet: {facts['contact_sheet']}")


def _print_duplicates(told: str, images: int, examples: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    if not images:
        return
    print_line(f"equal    {images} image{'s are' if images > 1 else ' is'} {told}:")
    for copies in examples[:_COPIES_SHOWN]:
        places = [f"{each['split']} {each['index']} ({each['class']})" for each in copies]
        print_line(f"         {' = '.join(places)}")
    if images > _COPIES_SHOWN:
        print_line("         ...")

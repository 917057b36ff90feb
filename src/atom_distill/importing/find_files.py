"""Which files of a folder are a published set: images, their labels, and sets divided among numbered files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from atom_distill.base.errors import DataError
from atom_distill.importing.tensor_file import TENSOR_SUFFIXES

_WORDS = {
    "images": (
        ("soft_labels", "images"),
        ("soft_label", "image"),
        ("labels", "images"),
        ("label", "image"),
        ("targets", "data"),
        ("target", "data"),
    ),
    "labels": (("images", "labels"), ("image", "label"), ("data", "targets"), ("data", "target")),
    "soft labels": (
        ("images", "soft_labels"),
        ("image", "soft_label"),
        ("data", "soft_targets"),
        ("labels", "soft_labels"),
        ("label", "soft_label"),
        ("targets", "soft_targets"),
    ),
    "lr": (("images", "lr"),),
}
"""What replaces what in the name of a file to get that of the images, the labels or the learning rate beside it."""
_IS_LABELS = re.compile("label|target", re.IGNORECASE)
_IS_RATE = re.compile(r"lr(?![a-z])", re.IGNORECASE)
_SHOWN = 5


def tensor_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may hold tensors, in the order of their names."""
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TENSOR_SUFFIXES]


def find_set(folder: Path) -> list[Path]:
    """Return the files of a set's images in order: the best ones if there are such, the only one, or all parts.

    Parts are files whose names differ in one number, which counts from 0 or 1. The files that MTT saves from time to
    time have larger steps, and are sets of their own.

    Raises:
        DataError: there is none, or there are several sets.
    """
    files = tensor_files(folder)
    images = [path for path in files if "images" in path.name and beside(path, "labels")]
    best = [path for path in images if "best" in path.name]
    others = [path for path in files if not (_IS_LABELS.search(path.name) or _IS_RATE.match(path.name))]
    named = [path for path in others if "image" in path.name]
    for choice in (best, images, files, others):
        if len(choice) == 1:
            return choice
    for choice in (images, named, others):
        numbered = _in_order(choice)
        if numbered is not None:
            return numbered
    names = ", ".join(path.name for path in (images or files)[:_SHOWN])
    raise DataError(
        f"{folder} holds {f'several sets ({names}, ...)' if names else 'no tensors'}; give one file of a set"
    )


def _in_order(files: Sequence[Path]) -> list[Path] | None:
    """Return files by their number, if one number is all that differs and they count from 0 or 1; else None."""
    names = [re.split(r"(\d+)", path.name) for path in files]
    if len(names) < 2 or len({len(parts) for parts in names}) != 1:
        return None
    differ = [place for place, parts in enumerate(zip(*names, strict=True)) if len(set(parts)) > 1]
    if len(differ) != 1 or differ[0] % 2 == 0:  # the odd places are the numbers
        return None
    by_number = {int(parts[differ[0]]): path for parts, path in zip(names, files, strict=True)}
    first = min(by_number)
    if first > 1 or sorted(by_number) != list(range(first, first + len(files))):
        return None
    return [by_number[number] for number in sorted(by_number)]


def find_labels(folder: Path, images: Sequence[Path]) -> Path | None:
    """Return the one file with the labels of all parts of a set; None if each part has its own, or holds them.

    Of class numbers and soft labels, it is that of the numbers.
    """
    labels = [path for path in tensor_files(folder) if path not in images and _IS_LABELS.search(path.name)]
    hard = [path for path in labels if "soft" not in path.name]
    return next((choice[0] for choice in (labels, hard) if len(choice) == 1), None)


def beside(path: Path, what: str) -> Path | None:
    """Return the file of "labels", "soft labels", "images" or "lr" that belongs to a file by name, if it exists."""
    names = [path.name.replace(old, new) for old, new in _WORDS[what] if old in path.name]
    if what == "lr":
        names.append("lr.pt")
    return next((place for name in names if (place := path.with_name(name)).is_file()), None)

"""Labels in a `metadata.csv` or `metadata.jsonl` beside the images, as the loader of image folders on the hub reads."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from atom_distill.base.errors import DataError
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import LoadOptions
from atom_distill.data.sources.listing import Listing, is_image
from atom_distill.data.sources.splits import split_of

NAMES = ("metadata.csv", "metadata.jsonl")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "category")
"""Usual names of a column of labels, in order of preference."""
_FILE_COLUMNS = ("file_name", "filename")
_SPLIT_COLUMN = "split"
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class _Row(NamedTuple):
    """One labeled image: its path in the listing, its label, and its split if a column names it."""

    path: str
    label: str
    split: str | None


def files_of_classes(listing: Listing, options: LoadOptions) -> dict[str, dict[str, list[str]]]:
    """Return the labeled files of each class of each part of a set; empty if no metadata file has labels.

    A part is what the column `split` says, or else the folder with the name of a split; "" for what is in none. Classes
    are sorted, as numbers if all labels are whole numbers.

    Raises:
        DataError: a metadata file cannot be read or is contradictory, names a file that is not there, or lacks one.
    """
    there = {path for path, _, _ in listing.files}
    labels: dict[str, _Row] = {}
    for path in sorted(there):
        if path.rpartition("/")[2] in NAMES:
            for row in _rows(listing, path, there, options):
                before = labels.setdefault(row.path, row)
                if before != row:
                    raise DataError(
                        f"{listing.root}: {row.path} is labeled {before.label!r} and {row.label!r}; keep one"
                    )
    parts: dict[str, dict[str, list[str]]] = {}
    are_numbers = all(_NUMBER.fullmatch(row.label) for row in labels.values())
    for row in sorted(labels.values(), key=lambda row: (int(row.label) if are_numbers else 0, row.label, row.path)):
        parts.setdefault(_part(row), {}).setdefault(row.label, []).append(row.path)
    if parts:
        _require_all(listing, parts, labels)
    return parts


def _part(row: _Row) -> str:
    if row.split is not None:
        return row.split
    return next((folder for folder in row.path.split("/")[:-1] if split_of(folder)), "")


def _require_all(listing: Listing, parts: dict[str, dict[str, list[str]]], labels: dict[str, _Row]) -> None:
    """Raise an error if images are not labeled though others of their part are."""
    images = (path for path, _, _ in listing.files if is_image(path) and path not in labels)
    missing = [path for path in images if _part(_Row(path, "", None)) in parts]
    if missing and not any(row.split for row in labels.values()):
        raise DataError(
            f"{listing.root}: no metadata file names {len(missing)} of the images, e.g. {missing[0]}; "
            "add them there, move them away, or remove the metadata file if the folders are the classes"
        )


def _rows(listing: Listing, path: str, there: set[str], options: LoadOptions) -> Iterator[_Row]:
    """Yield the rows of a metadata file, whose paths are relative to its folder; none if it has no labels."""
    where, folder = f"{listing.root}/{path}", path.rpartition("/")[0]
    rows = _content(listing, path, where)
    columns = sorted({name for row in rows for name in row})
    chosen = options.label_column
    wanted = LABEL_COLUMNS if chosen is None else (chosen, chosen.lower())  # the columns are in lower case
    file_column = next((name for name in _FILE_COLUMNS if name in columns), None)
    label_column = next((name for name in wanted if name in columns), None)
    if file_column is None or label_column is None:
        reason = f"it needs the columns file_name and {options.label_column or 'label'}, and has {', '.join(columns)}"
        if options.label_column is not None:
            raise DataError(f"{where}: {reason}")
        note(f"{where} is not used: {reason}")
        return
    note(f"{listing.root}: labels are those in {path}")
    splits = [_text(row.get(_SPLIT_COLUMN)) or "" for row in rows]
    has_splits = any(map(split_of, splits))
    for number, (row, split) in enumerate(zip(rows, splits, strict=True), start=1):
        file, label = _text(row.get(file_column)), _text(row.get(label_column))
        if not file or not label:
            raise DataError(f"{where}: row {number} lacks {file_column} or one {label_column}; complete or remove it")
        place = f"{folder}/{_known(file, folder, there)}" if folder else _known(file, folder, there)
        if place not in there:
            raise DataError(f"{where} names {file}, which is not there; add it or remove the line")
        if has_splits and not split:
            raise DataError(f"{where}: row {number} lacks one {_SPLIT_COLUMN}, such as train; complete or remove it")
        yield _Row(place, label, split if has_splits else None)


def _known(file: str, folder: str, there: set[str]) -> str:
    """Return a path as the listing spells it: Windows separates folders by backslashes."""
    spelled = file if f"{folder}/{file}".lstrip("/") in there else file.replace("\\", "/")
    return spelled.removeprefix("./")


def _text(value: Any) -> str | None:
    """Return a value as text; None if it is nothing, or several values."""
    return str(value).strip() if isinstance(value, str | int | float) else None


def _content(listing: Listing, path: str, where: str) -> list[dict[str, Any]]:
    """Return the rows that are not blank, with column names in lower case unless two would be the same."""
    try:
        opened = listing.open(path)
        content = opened.read_bytes() if isinstance(opened, Path) else opened.read()
        text = content.decode("utf-8-sig")
        if path.endswith(".csv"):
            delimiter = max(",;\t", key=text.partition("\n")[0].count)
            rows: list[Any] = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        else:
            rows = [parse_json(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{where} cannot be read ({error}); write it again as UTF-8") from error
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{where} needs one JSON object a line, with file_name and label")
    rows = [{str(name).strip(): value for name, value in row.items() if name is not None} for row in rows]
    rows = [row for row in rows if any(value is not None and str(value).strip() for value in row.values())]
    return [{name.lower() if name.lower() not in row else name: value for name, value in row.items()} for row in rows]

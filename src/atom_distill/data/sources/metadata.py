"""Labels in a `metadata.csv` or `metadata.jsonl` beside the images, as the loader of image folders on the hub reads."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from atom_distill.base.errors import DataError
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import LoadOptions
from atom_distill.data.sources.listing import Listing
from atom_distill.data.sources.splits import split_of

_NAMES = ("metadata.csv", "metadata.jsonl")
_FILE_COLUMN = "file_name"
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "category")
"""Usual names of a column of labels, in order of preference."""


def files_of_classes(listing: Listing, options: LoadOptions) -> dict[str, dict[str, list[str]]]:
    """Return the labeled files of each class of each part of a set; empty if no metadata file has labels.

    A part is a folder with the name of a split, or "" for what lies in none.

    Raises:
        DataError: a metadata file cannot be read, or names a file that is not there.
    """
    there = {path for path, _, _ in listing.files}
    parts: dict[str, dict[str, list[str]]] = {}
    for path in sorted(there):
        folder, _, name = path.rpartition("/")
        if name not in _NAMES or folder.count("/") > 0:
            continue
        labels = _labels(listing, path, options)
        for file, label in sorted(labels.items()):
            place = f"{folder}/{file}" if folder else file
            if place not in there:
                raise DataError(f"{listing.root}/{path} names {file}, which is not there; add it or remove the line")
            top = place.partition("/")[0]
            parts.setdefault(top if split_of(top) else "", {}).setdefault(label, []).append(place)
        if labels:
            note(f"{listing.root}: labels are those in {path}")
    return {part: dict(sorted(classes.items())) for part, classes in parts.items()}


def _labels(listing: Listing, path: str, options: LoadOptions) -> dict[str, str]:
    """Return the label of each file that a metadata file names, relative to its folder; empty without labels."""
    where = f"{listing.root}/{path}"
    rows = _rows(listing, path, where)
    columns = list(rows[0]) if rows else []
    wanted = (options.label_column,) if options.label_column is not None else LABEL_COLUMNS
    column = next((name for name in wanted if name in columns), None)
    if _FILE_COLUMN not in columns or column is None:
        if options.label_column is not None:
            raise DataError(f"{where} lacks the columns {_FILE_COLUMN} and {options.label_column}; it has {columns}")
        return {}
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        file, label = row.get(_FILE_COLUMN), row.get(column)
        if not file or label is None or label == "":
            raise DataError(f"{where}: row {number} lacks {_FILE_COLUMN} or {column}; complete or remove it")
        labels[str(file).removeprefix("./")] = str(label)
    return labels


def _rows(listing: Listing, path: str, where: str) -> list[dict[str, Any]]:
    try:
        opened = listing.open(path)
        content = opened.read_bytes() if isinstance(opened, Path) else opened.read()
        text = content.decode("utf-8-sig")
        if path.endswith(".csv"):
            return list(csv.DictReader(io.StringIO(text, newline="")))
        rows = [parse_json(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{where} cannot be read ({error}); write it again as UTF-8") from error
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{where} needs one JSON object a line, with {_FILE_COLUMN} and a label")
    return rows

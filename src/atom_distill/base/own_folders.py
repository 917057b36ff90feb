"""What marks a folder as written by this package, so that it is neither overwritten nor taken for data."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

CONFIG_FILE = "config.yaml"
EXPORT_MARK = "export.json"
CACHE_INDEX = "dataset.json"
REPORT_GENERATOR = '<meta name="generator" content="atom-distill">'
_MARKS = (
    # name of the file, text in its first bytes, what the folder holds
    (CONFIG_FILE, "settings:", "a run"),
    (EXPORT_MARK, '"format":', "an export"),
    (CACHE_INDEX, '"format":', "a cached data set"),
    ("search.json", '"verdicts":', "an architecture search"),
    ("*.json", '"table":', "tables of results"),
    ("*.html", REPORT_GENERATOR, "a report"),
)
_HEAD = 512  # bytes


def written_here(folder: Path, names: Iterable[str]) -> str | None:
    """Return what this package wrote into a folder with files of these names, e.g. "a run"; None if nothing."""
    for name in names:
        for pattern, text, kind in _MARKS:
            if fnmatch(name, pattern) and text.encode() in _head(folder / name):
                return kind
    return None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""  # a dead link, or not ours to read

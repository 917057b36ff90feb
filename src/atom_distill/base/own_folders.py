"""What this package writes, recognized wherever it lies, so that it is neither overwritten nor taken for data."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path, PurePath

CONFIG_FILE = "config.yaml"
EXPORT_MARK = "export.json"
CACHE_INDEX = "dataset.json"
CONTACT_SHEET = "-contact-sheet.png"
"""End of the name of a contact sheet."""
_FOLDERS = (
    (CONFIG_FILE, "settings:", "a run"),
    (EXPORT_MARK, '"format":', "an export"),
    (CACHE_INDEX, '"format":', "a cached data set"),
)
"""The file that marks a folder, what it begins with, and what the folder holds."""
_FILES = (
    ("search.json", '"verdicts":', ("search.*", "trials.csv")),
    ("*.json", '"table":', ("{stem}.*",)),
    ("*.html", '<meta name="generator" content="atom-distill">', ("{stem}.*",)),
)
"""A file that others may lie beside, what it begins with, and the names of all that is written with it."""
_HEAD = 512  # bytes


def written_here(folder: Path) -> str | None:
    """Return what this package keeps in a folder of its own, e.g. "a run"; None if the folder is not its own."""
    return next((kind for name, text, kind in _FOLDERS if text in _head(folder / name)), None)


def own_files(folder: Path, names: Collection[str]) -> set[str]:
    """Return those of a folder's files that this package wrote: reports, tables, searches and contact sheets."""
    own = {name for name in names if name.endswith(CONTACT_SHEET)}
    texts = [name for name in names if name.endswith((".json", ".html"))]  # few: the others may be a million images
    for pattern, text, written in _FILES:
        for mark in (name for name in texts if fnmatch(name, pattern) and text in _head(folder / name)):
            patterns = [one.format(stem=PurePath(mark).stem) for one in written]
            own |= {name for name in names if any(fnmatch(name, one) for one in patterns)}
    return own


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode(errors="replace")
    except OSError:
        return ""  # not there, a dead link, or not ours to read

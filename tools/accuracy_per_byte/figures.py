"""The file of all figures, `results/frontier.json`: read, merged, written whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from accuracy_per_byte.entry import Entry
from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import read_json_as, write_json

_WHAT = (
    "test accuracy in percent of networks trained on sets of few bytes a class, after the last epoch; written by "
    "tools/frontier.py collect"
)


class Figures(BaseModel):
    """All entries, in the order of their sizes."""

    model_config = ConfigDict(extra="allow")

    what: str = _WHAT
    entries: list[Entry] = []


_FIGURES = TypeAdapter(Figures)


def load_figures(path: Path) -> Figures:
    """Return the figures in a file; none where there is no file.

    Raises:
        ArtifactError: the file is damaged.
    """
    advice = "collect the runs again"
    return read_json_as(_FIGURES, path, advice=advice) if path.exists() else Figures()


def merged(figures: Figures, new: Iterable[Entry]) -> Figures:
    """Return figures with new entries, each in the place of the old one of the same key.

    Raises:
        ArtifactError: two new entries have the same key, as those of two folders of one name.
    """
    new = [*new]
    twice = [key[0] for key, count in Counter(entry.key for entry in new).items() if count > 1]
    if twice:
        raise ArtifactError(f"two of the runs are named {twice[0]}, by which entries are told apart; rename a folder")
    entries = {entry.key: entry for entry in [*figures.entries, *new]}
    ordered = sorted(entries.values(), key=lambda each: (each.dataset, each.classes, each.bytes_asked, each.key))
    return figures.model_copy(update={"entries": ordered})


def save_figures(path: Path, figures: Figures) -> None:
    """Write the figures, atomically."""
    write_json(path, figures.model_dump(mode="json"))

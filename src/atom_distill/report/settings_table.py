"""The table of settings: a column for each run, and differences marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atom_distill.report.reading import RunView

_OF_DATASET = ("name", "source", "train_size", "test_size", "fingerprint")
_OF_RECORD = ("atom_distill", "commit", "torch", "python", "machine", "threads", "started", "seconds", "command")
_FINGERPRINT_LENGTH = 16
"""Characters shown of a fingerprint, which has 64."""


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        group: settings, data set, or made with.
        name: of the setting.
        values: of each run, in words.
        differs: True if they are not all the same.
    """

    group: str
    name: str
    values: list[str]
    differs: bool


def settings_lines(views: Sequence[RunView]) -> list[Line]:
    """Return every setting of some runs, then their data sets and what they were made with."""
    names = list(dict.fromkeys(str(name) for view in views for name in view.settings))
    return [
        *(_line("settings", name, [view.settings for view in views]) for name in names),
        *(_line("data set", name, [view.dataset for view in views]) for name in _OF_DATASET),
        *(_line("made with", name, [view.record for view in views]) for name in _OF_RECORD),
    ]


def _line(group: str, name: str, sources: Sequence[Mapping[str, Any]]) -> Line:
    values = [_text(source[name]) if name in source else "-" for source in sources]
    shown = [value[:_FINGERPRINT_LENGTH] for value in values] if name == "fingerprint" else values
    return Line(group, name, shown, len(set(values)) > 1)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""A run's numbers by step, few enough to draw."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from atom_distill.report.reading import RunView

_POINTS = 300
"""Points of a curve at most: a page is about a thousand pixels wide."""


class Point(NamedTuple):
    """A point of a curve.

    Attributes:
        series: which curve.
        step: the last step that the value is an average of.
        value: the average.
    """

    series: str
    step: int
    value: float


def loss_points(views: Sequence[RunView]) -> list[Point]:
    """Give the loss of every run by step; long runs as averages over equal parts."""
    return [point for view in views for point in _averaged(view.name, [(e["step"], e["loss"]) for e in view.history])]


def term_points(view: RunView) -> list[Point]:
    """Give the terms of a run's loss by step, in the order of the layers."""
    entries = [entry for entry in view.history if isinstance(entry.get("terms"), dict)]
    names = dict.fromkeys(name for entry in entries for name in entry["terms"])
    curves = {
        name: [(entry["step"], entry["terms"][name]) for entry in entries if _is_value(entry["terms"].get(name))]
        for name in names
    }
    return [point for name, curve in curves.items() for point in _averaged(name, curve)]


def accuracy_points(views: Sequence[RunView]) -> list[Point]:
    """Give every accuracy on held-out training images, percent."""
    return [
        Point(view.name, entry["step"], float(entry["held_out_accuracy"]))
        for view in views
        for entry in view.history
        if _is_value(entry.get("held_out_accuracy"))
    ]


def _averaged(series: str, curve: Sequence[tuple[int, float]]) -> list[Point]:
    size = max(1, -(-len(curve) // _POINTS))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [Point(series, part[-1][0], float(f"{statistics.fmean(v for _, v in part):.5g}")) for part in parts]


def _is_value(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

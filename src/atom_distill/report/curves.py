"""A run's numbers by step, few enough to draw."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from atom_distill.report.reading import RunView, is_number

_MAX_POINTS = 300
"""Points of a curve: a page is about a thousand pixels wide."""


class Point(NamedTuple):
    """A point of a curve.

    Attributes:
        series: name of the curve.
        step: the last step of those averaged.
        value: the average.
    """

    series: str
    step: int
    value: float


def loss_points(views: Sequence[RunView]) -> list[Point]:
    """Return the loss of every run by step, averaged over equal parts of a long run."""
    return [point for view in views for point in _averaged(view.name, [(e["step"], e["loss"]) for e in view.history])]


def term_points(view: RunView) -> list[Point]:
    """Return the terms of a run's loss by step, in the order of the layers."""
    entries = [entry for entry in view.history if isinstance(entry.get("terms"), dict)]
    names = dict.fromkeys(name for entry in entries for name in entry["terms"])
    curves = {
        name: [(entry["step"], entry["terms"][name]) for entry in entries if is_number(entry["terms"].get(name))]
        for name in names
    }
    return [point for name, curve in curves.items() for point in _averaged(name, curve)]


def accuracy_points(views: Sequence[RunView]) -> list[Point]:
    """Return every accuracy on held-out training images (percent)."""
    return [
        Point(view.name, entry["step"], float(entry["held_out_accuracy"]))
        for view in views
        for entry in view.history
        if is_number(entry.get("held_out_accuracy"))
    ]


def _averaged(series: str, curve: Sequence[tuple[int, float]]) -> list[Point]:
    size = max(1, -(-len(curve) // _MAX_POINTS))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [Point(series, part[-1][0], float(f"{statistics.fmean(v for _, v in part):.5g}")) for part in parts]

"""A run's numbers by step, few enough to draw."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from atom_distill.artifact.scores import Score
from atom_distill.report.comparison import Column, column_of
from atom_distill.report.reading import RunView, is_number

_MAX_POINTS = 300
"""Points of a curve: a page is about a thousand pixels wide."""


class Point(NamedTuple):
    """A point of a curve.

    Attributes:
        series: name of the curve.
        step: the last step of those averaged; of a curve by size, the stored images of each class.
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


def size_points(views: Sequence[RunView]) -> list[Point]:
    """Return the test accuracies of the first images of each class (percent), by their number.

    A curve has scores only that are comparable, of two sizes at least; of several, that of most networks, the latest.
    """
    found: dict[tuple[str, Column], dict[int, Score]] = {}
    for view in views:
        for score in view.scores:
            size = score.first or view.stored_per_class
            if score.subject != "distilled" or score.which != "last" or size is None:
                continue
            sizes = found.setdefault((view.name, column_of(score)), {})
            if size not in sizes or len(score.runs) >= len(sizes[size].runs):
                sizes[size] = score
    curves = {key: scores for key, scores in found.items() if len(scores) > 1}
    return [
        Point(_title(key, curves), size, round(scores[size].mean, 2))
        for key, scores in curves.items()
        for size in sorted(scores)
    ]


def _title(key: tuple[str, Column], curves: Iterable[tuple[str, Column]]) -> str:
    """Return the name of a run, and of what its scores have to themselves where there are several kinds."""
    name, column = key
    if len({other for _, other in curves}) == 1:
        return name
    soft = ["soft labels"] if column.labels == "soft" else []
    return ", ".join([name, column.network, column.protocol, *soft])


def _averaged(series: str, curve: Sequence[tuple[int, float]]) -> list[Point]:
    size = max(1, -(-len(curve) // _MAX_POINTS))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [Point(series, part[-1][0], float(f"{statistics.fmean(v for _, v in part):.5g}")) for part in parts]

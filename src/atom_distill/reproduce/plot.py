"""Results as a picture: bars beside the published figures, or accuracy against steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atom_distill.base.files import atomic_path
from atom_distill.reproduce.cell import AFTER, Result
from atom_distill.reproduce.table_layout import ordered
from atom_distill.reproduce.titles import TITLES, TableName

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(table: TableName, results: Sequence[Result], path: Path) -> None:
    """Draw a table as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _curves(axes, results) if table == "curve" else _bars(axes, results)
    axes.set_title(TITLES[table], loc="left")
    axes.set_ylabel("test accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _bars(axes: Axes, results: Sequence[Result]) -> None:
    """Draw a group of bars per row, one bar per column, and a line at each published figure."""
    rows = ordered(result.row for result in results)
    columns = ordered(result.column for result in results)
    width = 0.8 / len(columns)
    lines: list[tuple[float, float]] = []
    for index, column in enumerate(columns):
        of_column = [result for result in results if result.column == column]
        at = [rows.index(result.row) + (index - (len(columns) - 1) / 2) * width for result in of_column]
        means, stds = [result.mean for result in of_column], [result.std for result in of_column]
        axes.bar(at, means, width, yerr=stds, capsize=2, label=column)
        lines += [(x, result.published) for x, result in zip(at, of_column, strict=True) if result.published]
    if lines:
        left, right = ([x + side * width / 2 for x, _ in lines] for side in (-1, 1))
        axes.hlines([y for _, y in lines], left, right, "k", label="published")
    axes.set_xticks(range(len(rows)), rows, rotation=20 if max(map(len, rows)) > 10 else 0)


def _curves(axes: Axes, results: Sequence[Result]) -> None:
    """Draw a line per method, with a band of one standard deviation."""
    lines: dict[tuple[str, str], list[Result]] = {}
    for result in sorted(results, key=lambda result: result.steps):
        lines.setdefault((result.column.split(AFTER)[0], result.row), []).append(result)
    several = len({sets for sets, _ in lines}) > 1
    for (sets, row), points in lines.items():
        steps, means = [point.steps for point in points], [point.mean for point in points]
        (line,) = axes.plot(steps, means, marker="o", label=f"{row}, {sets}" if several else row)
        low = [point.mean - point.std for point in points]
        high = [point.mean + point.std for point in points]
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15)
    axes.set_xlabel("steps")

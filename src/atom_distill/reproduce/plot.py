"""Results as a picture: bars beside the published figures, or accuracy against steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atom_distill.base.files import atomic_path
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.render import ordered, series, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(table: str, results: Sequence[Result], path: Path) -> None:
    """Draw a table as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    _curves(axes, results) if table == "curve" else _bars(axes, results)
    axes.set_title(title(table), loc="left")
    axes.set_ylabel("test accuracy, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _bars(axes: Axes, results: Sequence[Result]) -> None:
    """Draw a group of bars for each row, one bar a column, and a line where the published figure is."""
    places = zip(*((r.row, r.column) for r in results), strict=True)
    rows, columns = (ordered(list(dict.fromkeys(names))) for names in places)
    width, named = 0.8 / len(columns), True
    for index, column in enumerate(columns):
        mine = [result for result in results if result.column == column]
        at = [rows.index(result.row) + (index - (len(columns) - 1) / 2) * width for result in mine]
        axes.bar(at, [r.mean for r in mine], width, yerr=[r.std for r in mine], capsize=2, label=column)
        told = [(place, result.published) for place, result in zip(at, mine, strict=True) if result.published]
        if told:
            left, right = ([x + side * width / 2 for x, _ in told] for side in (-1, 1))
            axes.hlines([y for _, y in told], left, right, "k", label="published" if named else "")
            named = False
    axes.set_xticks(range(len(rows)), rows, rotation=20 if max(map(len, rows)) > 10 else 0)


def _curves(axes: Axes, results: Sequence[Result]) -> None:
    """Draw a line for each method, with a band of one deviation."""
    lines = list(dict.fromkeys((series(result.column), result.row) for result in results))
    several = len({which for which, _ in lines}) > 1
    for which, row in lines:
        mine = [result for result in results if (series(result.column), result.row) == (which, row)]
        mine.sort(key=lambda result: result.steps)
        steps, means = [result.steps for result in mine], [result.mean for result in mine]
        (line,) = axes.plot(steps, means, marker="o", label=f"{row}, {which}" if several else row)
        low = [result.mean - result.std for result in mine]
        high = [result.mean + result.std for result in mine]
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15)
    axes.set_xlabel("steps")

"""Results laid out in rows and columns, and written as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from atom_distill.base import markdown as md
from atom_distill.distillation.methods import METHODS
from atom_distill.reproduce.cell import BEST, Result
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.headlines import headline
from atom_distill.reproduce.table_notes import notes
from atom_distill.reproduce.titles import TITLES, TableName


def grid(
    results: Sequence[Result | Cost], text: Callable[[Result | Cost], str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table, all texts; a dash where a cell was not run.

    Args:
        results: the cells.
        text: what is shown of a cell; None for accuracy or cost.
    """
    shown = text or _text
    rows = ordered(result.row for result in results)
    columns = ordered(result.column for result in results)
    texts = {(result.row, result.column): shown(result) for result in results}
    return ["", *columns], [[row, *(texts.get((row, column), "-") for column in columns)] for row in rows]


def markdown(table: TableName, results: Sequence[Result | Cost]) -> str:
    """Return a table, with its title, what it shows, and its notes, as a section of Markdown."""
    shows = headline(table, results)
    lines = [f"## {TITLES[table]}", "", *([shows, ""] if shows else []), md.table(*grid(results)), ""]
    return "\n".join([*lines, *(f"- {note}" for note in notes(results)), ""])


def ordered(names: Iterable[str]) -> list[str]:
    """Return names without duplicates.

    Names that differ in numbers alone are sorted by them, methods are in the order of `METHODS`, with `best` at the
    end; others stay.
    """
    distinct = list(dict.fromkeys(names))
    number = re.compile(r"\d+(?:\.\d+)?")
    if len({number.sub("#", name) for name in distinct}) == 1:
        return sorted(distinct, key=lambda name: [float(digits) for digits in number.findall(name)])
    methods = [*METHODS.in_order(), BEST]
    return sorted(distinct, key=methods.index) if set(distinct) <= set(methods) else distinct


def _text(result: Result | Cost) -> str:
    if isinstance(result, Cost):
        return f"{result.seconds_per_step:.3g} s, {result.peak_mb:.0f} MB"
    published = f" ({result.published:.1f})" if result.published is not None else ""
    deviation = f" ± {result.std:.1f}" if len(result.runs) > 1 else ""
    return f"{result.mean:.1f}{deviation}{published}"

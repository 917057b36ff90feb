"""Results as tables in Markdown, with every departure from the published protocol said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atom_distill.config.presets import published_steps
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.cost import Cost

TITLES = {
    "table1": "Accuracy by method",
    "cross-arch": "Other architectures, trained on sets made with a ConvNet",
    "components": "What each term of ATOM's objective adds",
    "powers": "ATOM by the powers of its attention",
    "curve": "Accuracy against steps",
    "cost": "Time of a step and peak memory",
}
"""Headings, in the order of the page of results."""


def title(table: str) -> str:
    """Give the heading of a table."""
    return TITLES.get(table, table)


def grid(results: Sequence[Result | Cost]) -> tuple[list[str], list[list[str]]]:
    """Lay results out: header, and rows of texts; a dash where a cell was not run."""
    rows, columns = _distinct(r.row for r in results), _distinct(r.column for r in results)
    by_place = {(result.row, result.column): result for result in results}
    body = [
        [row, *(_text(by_place[row, column]) if (row, column) in by_place else "-" for column in columns)]
        for row in rows
    ]
    return ["", *columns], body


def markdown(table: str, results: Sequence[Result | Cost]) -> str:
    """Write a table as a section of Markdown."""
    header, rows = grid(results)
    lines = [f"## {title(table)}", "", _line(header), _line("---" for _ in header), *map(_line, rows), ""]
    found = [result for result in results if isinstance(result, Result)]
    return "\n".join([*lines, *(f"- {note}" for note in notes(found)), ""])


def notes(results: Sequence[Result]) -> list[str]:
    """Say how the figures came about, and how that differs from the published ones."""
    if not results:
        return []
    told = [
        "Test accuracy in percent, mean and deviation over networks, after the last step and the last epoch"
        + (", in brackets as published." if any(result.published for result in results) else ".")
    ]
    if any(result.published and result.settings["method"] in ("datadam", "atom") for result in results):
        told.append(
            "The published DataDAM code, on which ATOM builds, reports the best evaluation on the test split in a run."
        )
    told += [f"Networks a cell: {_grouped(results, lambda result: str(len(result.runs)))}."]
    told += [f"Protocol: {_grouped(results, lambda result: result.protocol)}."]
    told += [f"Precision of their convolutions: {_grouped(results, lambda result: result.precision)}."]
    told += [f"Preprocessing: {_grouped(results, lambda result: result.preprocess)}."]
    told += [f"Updates of the images: {_grouped(results, _steps)}."]
    if any(result.settings["method"] == "random" for result in results):
        told.append("Random: each network has a draw of its own.")
    return told


def _steps(result: Result) -> str:
    if result.steps == 0:
        return "none (real images)"
    published = published_steps(result.settings["method"])
    return f"{result.steps}" if result.steps == published else f"{result.steps} of the published {published}"


def _grouped(results: Sequence[Result], label: object) -> str:
    """Say a property once where all share it, else by row."""
    assert callable(label)
    groups: dict[str, list[str]] = {}
    for result in results:
        groups.setdefault(label(result), []).append(result.row)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{what}: {', '.join(_distinct(rows))}" for what, rows in groups.items())


def _text(result: Result | Cost) -> str:
    if isinstance(result, Cost):
        return f"{result.seconds_per_step:.3g} s, {result.peak_mb:.0f} MB"
    published = f" ({result.published:.1f})" if result.published is not None else ""
    return f"{result.mean:.1f} ± {result.std:.1f}{published}"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

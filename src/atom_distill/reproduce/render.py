"""Results as tables in Markdown, with every departure from the published protocol said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from atom_distill.base import markdown as md
from atom_distill.distillation.methods import METHODS
from atom_distill.reproduce.cell import AFTER, Result
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.findings import findings
from atom_distill.reproduce.published import WHITENED

TITLES = {
    "table1": "Accuracy by method",
    "cross-arch": "Other architectures, trained on sets made with a ConvNet",
    "components": "What each term of ATOM's objective adds",
    "powers": "ATOM by the powers of its attention",
    "curve": "Accuracy against steps",
    "cost": "Time of a step and peak memory",
}
"""Headings, in the order of the page of results."""


def series(column: str) -> str:
    """Give what a curve's point belongs to: its column without the steps."""
    return column.split(AFTER, maxsplit=1)[0]


def title(table: str) -> str:
    """Give the heading of a table."""
    return TITLES.get(table, table)


def grid(results: Sequence[Result | Cost]) -> tuple[list[str], list[list[str]]]:
    """Lay results out: header, and rows of texts; a dash where a cell was not run."""
    rows = ordered(_distinct(r.row for r in results))
    columns = ordered(_distinct(r.column for r in results))
    by_place = {(result.row, result.column): result for result in results}
    body = [
        [row, *(_text(by_place[row, column]) if (row, column) in by_place else "-" for column in columns)]
        for row in rows
    ]
    return ["", *columns], body


def markdown(table: str, results: Sequence[Result | Cost]) -> str:
    """Write a table as a section of Markdown."""
    header, rows = grid(results)
    lines = [f"## {title(table)}", "", md.table(header, rows), ""]
    return "\n".join([*lines, *(f"- {note}" for note in notes(results)), ""])


def notes(found: Sequence[Result | Cost]) -> list[str]:
    """Say how the figures came about, and how that differs from the published ones."""
    costs = [cost for cost in found if isinstance(cost, Cost)]
    results = [result for result in found if isinstance(result, Result)]
    told = ["Seconds a step, and the most memory that the process held."] if costs else []
    return told + (_accuracy_notes(results) if results else []) + _step_notes(found)


def _step_notes(found: Sequence[Result | Cost]) -> list[str]:
    if all(_updates_a_step(one) == 1 for one in found):
        return []
    return ["A step of dc and dsa is a network with as many updates of the images as there are images a class."]


def _accuracy_notes(results: Sequence[Result]) -> list[str]:
    told = [
        "Test accuracy in percent, mean and deviation over networks, after the last step and the last epoch"
        + (", in brackets as published." if any(result.published for result in results) else ".")
    ]
    if any(result.published and result.settings["method"] in ("datadam", "atom") for result in results):
        told.append(
            "The published DataDAM code, on which ATOM builds, reports the best evaluation on the test split in a run."
        )
    if any(result.published and _other_space(result) for result in results):
        told.append(
            "Published behind channel normalization: random, herding, dc, dsa and dm; behind ZCA on CIFAR: datadam and "
            "atom. A cell with the other preprocessing stands beside a figure that was found otherwise."
        )
    told += [f"Networks a cell: {_grouped(results, lambda result: str(len(result.runs)))}."]
    told += [f"Protocol: {_grouped(results, lambda result: result.protocol)}."]
    told += [f"Precision of their convolutions: {_grouped(results, lambda result: result.precision)}."]
    told += [f"Preprocessing: {_grouped(results, lambda result: result.preprocess)}."]
    told += [f"Steps: {_grouped(results, _steps)}."]
    if any(result.settings["method"] == "random" for result in results):
        told.append("Random: each network has a draw of its own.")
    if any(result.settings["method"] in ("herding", "k-center") and result.settings["ipc"] == 1 for result in results):
        told.append("At ipc 1 herding and k-center both take the image nearest to its class's mean embedding.")
    return told + findings(results)


def _other_space(result: Result) -> bool:
    whitened = result.settings["method"] in WHITENED and not result.column.startswith("tiny-imagenet")
    return whitened != (result.preprocess == "zca")


def _steps(result: Result) -> str:
    if result.steps == 0:
        return "none (real images)"
    published = METHODS.get(result.settings["method"]).published_steps
    return f"{result.steps}" if result.steps == published else f"{result.steps} of the published {published}"


def _updates_a_step(result: Result | Cost) -> int:
    """Give updates of the images: gradient matching takes several along one network's training."""
    return int(result.settings["ipc"]) if result.settings["method"] in ("dc", "dsa") else 1


def _grouped(results: Sequence[Result], label: Callable[[Result], str]) -> str:
    """Say a property once where all share it, else by row or by column, whichever tells them apart."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(label(result), []).append(result)
    if len(groups) == 1:
        return next(iter(groups))
    ways: tuple[Callable[[Result], str], ...] = (lambda r: r.row, lambda r: r.column, lambda r: f"{r.row}/{r.column}")
    for name in ways:
        told = {what: _distinct(name(result) for result in mine) for what, mine in groups.items()}
        if sum(map(len, told.values())) == len(_distinct(name(result) for result in results)):
            break
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in told.items())


def _text(result: Result | Cost) -> str:
    if isinstance(result, Cost):
        return f"{result.seconds_per_step:.3g} s, {result.peak_mb:.0f} MB"
    published = f" ({result.published:.1f})" if result.published is not None else ""
    return f"{result.mean:.1f} ± {result.std:.1f}{published}"


def ordered(names: list[str]) -> list[str]:
    """Put names that differ in numbers alone in their order, methods in the papers'; others stay as they were found."""
    if len({re.sub(r"\d+", "#", name) for name in names}) == 1:
        return sorted(names, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)])
    order = METHODS.in_order()
    if set(names) <= set(order):
        return sorted(names, key=order.index)
    return names


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))

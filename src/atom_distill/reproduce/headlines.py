"""What a table shows, in a sentence or two worked out from its figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

from atom_distill.reproduce.cell import AFTER, UNCHANGED, Result
from atom_distill.reproduce.comparisons import SIGNIFICANT, attention_differences, difference
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.titles import TableName

_ABLATIONS = ("components", "powers", "lambda", "changes")
"""Tables whose cells are compared with one that has the papers' settings."""
_ENOUGH_TO_TEST = 3
"""Networks per cell: of two, a test can hardly tell chance from a difference of many points."""


def headline(table: TableName, cells: Sequence[Result | Cost]) -> str:
    """Return what the figures of a table show; empty where they show nothing yet."""
    results = [cell for cell in cells if isinstance(cell, Result)]
    if table == "cost":
        return _cost([cell for cell in cells if isinstance(cell, Cost)])
    if table == "curve":
        return _growth(results)
    if table in _ABLATIONS:
        groups = _groups(results, powers_apart=False)
        return " ".join(filter(None, (_ablation(name, group) for name, group in groups.items())))
    return " ".join(filter(None, [_attention(results), _highest(results)]))


def _attention(results: Sequence[Result]) -> str:
    """Return in how many columns ATOM differs from DM, where all else is equal."""
    found = [one for _, one in attention_differences(results)]
    if not found:
        return ""
    above = sum(one.is_significant and one.points > 0 for one in found)
    below = sum(one.is_significant and one.points < 0 for one in found)
    mean = f"{fmean(one.points for one in found):+.1f} points"
    if not above and not below:
        columns = f"any of the {len(found)} columns" if len(found) > 1 else "the column"
        return (
            f"Under equal conditions, ATOM does not differ from DM by more than chance in {columns}; on average {mean}."
        )
    told = " and ".join(
        f"{word} accurate than DM in " + (f"{count} of {len(found)} columns" if len(found) > 1 else "the column")
        for word, count in {"more": above, "less": below}.items()
        if count
    )
    rest = len(found) - above - below
    unsure = f"; in the other {rest} the difference may be chance" if rest else ""
    return f"Under equal conditions, ATOM is {told}{unsure}. On average it is {mean}."


def _highest(results: Sequence[Result]) -> str:
    """Return the highest accuracy of each column, and the rows that differ from it by no more than chance may."""
    told, few = [], False
    for column, group in _groups(results).items():
        best = max(group, key=lambda one: one.mean)
        tested = min(len(one.runs) for one in group) >= _ENOUGH_TO_TEST
        few |= not tested
        others = [one for one in group if one is not best and not difference(best, one).is_significant]
        near = f" (not distinguishable: {', '.join(one.row for one in others)})" if others and tested else ""
        told.append(f"{column}: {best.row} {best.mean:.1f}{near}")
    if not told:
        return ""
    untested = (
        f" Columns of fewer than {_ENOUGH_TO_TEST} networks per cell are too uncertain to compare." if few else ""
    )
    return f"Highest accuracy, %: {'; '.join(told)}.{untested}"


def _ablation(column: str, results: Sequence[Result]) -> str:
    """Return which cells of a column differ from the papers' settings by more than chance may, and by how much."""
    ours = [one for one in results if one.settings["method"] == "atom"] or list(results)
    # Every departure is a setting of its own, or a longer name of the protocol.
    reference = min(ours, key=lambda one: (one.row != UNCHANGED, len(one.settings), len(one.protocol)))
    others = [one for one in results if one is not reference]
    if not others:
        return ""
    level = SIGNIFICANT / len(others)
    differences = [(one, difference(one, reference)) for one in others]
    moved = [
        f"{_name(one, column)} by {by.points:+.1f} ± {by.error:.1f} points"
        for one, by in differences
        if by.p_value < level
    ]
    told = f": {'; '.join(moved)}" if moved else ""
    return (
        f"{column}, compared with {_name(reference, column)} ({reference.mean:.1f} %): {len(moved)} of {len(others)} "
        f"differ by more than chance may (Welch's test at {100 * SIGNIFICANT:.0f} % divided by {len(others)})"
        f"{told}."
    )


def _growth(results: Sequence[Result]) -> str:
    """Return what the steps of a curve add, and from which on they add no more than chance may."""
    lines: dict[tuple[str, str], list[Result]] = {}
    for one in sorted(results, key=lambda one: one.steps):
        lines.setdefault((one.row, one.column.split(AFTER)[0]), []).append(one)
    told = []
    for (row, column), points in lines.items():
        first, last = points[0], points[-1]
        if first is last:
            continue
        enough = next(one for one in points if one is last or not difference(last, one).is_significant)
        gain = difference(last, first)
        said = f"{row}, {column}: {gain.points:+.1f} ± {gain.error:.1f} points from {first.steps} to {last.steps} steps"
        after = "" if enough is last else f", of which the part after {enough.steps} may be chance"
        told.append(said + after)
    return f"{'; '.join(told)}." if told else ""


def _cost(costs: Sequence[Cost]) -> str:
    """Return how many times as long as the fastest the steps of the methods take."""
    told = []
    for column, group in groupby(sorted(costs, key=lambda one: one.column), key=lambda one: one.column):
        fastest, *others = sorted(group, key=lambda one: one.seconds_per_step)
        times = [f"{one.row} {one.seconds_per_step / fastest.seconds_per_step:.1f}" for one in others]
        slower = f"; times as long: {', '.join(times)}" if times else ""
        told.append(f"{column}: {fastest.row} has the fastest step{slower}")
    return f"{'. '.join(told)}." if told else ""


def _groups(results: Sequence[Result], *, powers_apart: bool = True) -> dict[str, list[Result]]:
    """Return the results by column, in the order of the table; the columns of `powers` apart or as one."""
    groups: dict[str, list[Result]] = {}
    for one in results:
        name = one.column if powers_apart else re.sub(r" p_c \d+$", "", one.column)
        groups.setdefault(name, []).append(one)
    return groups


def _name(result: Result, column: str) -> str:
    """Return the row, and with it what tells the columns of `powers` apart."""
    return f"{result.row} {result.column.removeprefix(column).strip()}".strip()

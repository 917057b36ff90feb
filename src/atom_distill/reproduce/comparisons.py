"""Differences between the accuracies of a table: what attention adds to the embedding, what whitening adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scipy import stats

from atom_distill.reproduce.cell import Result

_SIGNIFICANT = 0.05


class Difference(NamedTuple):
    """A difference of two mean accuracies.

    Attributes:
        points: percentage points.
        error: its standard error, percentage points.
        p_value: of Welch's test; 1 where there is a single network.
    """

    points: float
    error: float
    p_value: float

    def __str__(self) -> str:
        doubt = "" if self.p_value < _SIGNIFICANT else ", which may be chance"
        return f"{self.points:+.1f} ± {self.error:.1f}{doubt}"


def difference(one: Result, other: Result) -> Difference:
    """Return the first's mean accuracy minus the second's."""
    variance = one.std**2 / len(one.runs) + other.std**2 / len(other.runs)
    single = min(len(one.runs), len(other.runs)) < 2
    p_value = 1.0 if single else float(stats.ttest_ind(one.runs, other.runs, equal_var=False).pvalue)
    return Difference(one.mean - other.mean, math.sqrt(variance), p_value)


def comparisons(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each comparison that the results allow."""
    attention = _differences(results, "method", "atom", "dm", lambda result: result.column)
    whitening = _differences(results, "preprocess", "zca", "normalize", lambda result: result.row)
    sentences = {
        "What attention adds to the embedding (atom minus dm, points, standard error)": attention,
        "What whitening adds (zca minus normalize, points, standard error)": whitening,
    }
    return [f"{title}: {'; '.join(found)}." for title, found in sentences.items() if found]


def _differences(
    results: Sequence[Result], what: str, one: str, other: str, label: Callable[[Result], str]
) -> list[str]:
    """Return the difference of any two results that differ in one setting alone, with a label."""
    conditions = [_conditions(result) for result in results]
    return [
        f"{label(first)} {difference(first, second)}"
        for first, of_first in zip(results, conditions, strict=True)
        for second, of_second in zip(results, conditions, strict=True)
        if of_first[what] == one and of_second == {**of_first, what: other}
    ]


def _conditions(result: Result) -> dict[str, Any]:
    """Return everything that must be equal for a comparison, by name."""
    evaluation = result.model_dump(include={"preprocess", "protocol", "arch", "precision", "steps"})
    return {**result.settings, **evaluation, "networks": len(result.runs)}

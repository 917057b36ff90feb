"""Differences between the accuracies of a table: what attention adds to the embedding, what whitening adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scipy import stats

from atom_distill.reproduce.cell import BEST_ROW, Result

SIGNIFICANT = 0.05
"""A smaller p-value is called more than chance."""


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

    @property
    def is_significant(self) -> bool:
        """Whether it is more than chance may be."""
        return self.p_value < SIGNIFICANT

    def __str__(self) -> str:
        doubt = "" if self.is_significant else ", which may be chance"
        return f"{self.points:+.1f} ± {self.error:.1f}{doubt}"


def difference(one: Result, other: Result) -> Difference:
    """Return the first's mean accuracy minus the second's."""
    variance = one.std**2 / len(one.runs) + other.std**2 / len(other.runs)
    single = min(len(one.runs), len(other.runs)) < 2
    p_value = 1.0 if single else float(stats.ttest_ind(one.runs, other.runs, equal_var=False).pvalue)
    return Difference(one.mean - other.mean, math.sqrt(variance), p_value)


def comparisons(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each comparison that the results allow."""
    column, row = _column, _row
    sentences = {
        "What attention adds to the embedding (atom minus dm": _told(attention_differences(results), column, row),
        "What whitening adds (zca minus normalize": _told(_differences(results, "preprocess", "zca", "normalize"), row),
        "What batch normalization adds (batch minus instance": _told(
            _differences(results, "norm", "batch", "instance"), row
        ),
    }
    return [f"{title}, points, standard error): {'; '.join(found)}." for title, found in sentences.items() if found]


def attention_differences(results: Sequence[Result]) -> list[tuple[Result, Difference]]:
    """Return ATOM's results with what they exceed those of DM by, where all else is equal."""
    return _differences(results, "method", "atom", "dm")


def _differences(results: Sequence[Result], what: str, one: str, other: str) -> list[tuple[Result, Difference]]:
    """Return the difference of any two results that differ in one setting alone, with the first of them."""
    conditions = [_conditions(result) for result in results]
    return [
        (first, difference(first, second))
        for first, of_first in zip(results, conditions, strict=True)
        for second, of_second in zip(results, conditions, strict=True)
        if of_first[what] == one and of_second == {**of_first, what: other}
    ]


def _told(found: Sequence[tuple[Result, Difference]], *labels: Callable[[Result], str]) -> list[str]:
    """Return differences with the first label that tells them apart, or with row and column."""
    label = next((one for one in labels if len({one(result) for result, _ in found}) == len(found)), _row_and_column)
    return [f"{label(result)} {difference}" for result, difference in found]


def _row(result: Result) -> str:
    return result.row


def _column(result: Result) -> str:
    return result.column


def _row_and_column(result: Result) -> str:
    return f"{result.row}/{result.column}"


def _conditions(result: Result) -> dict[str, Any]:
    """Return everything that must be equal for a comparison, by name."""
    evaluation = result.model_dump(include={"preprocess", "protocol", "arch", "precision", "steps"})
    evaluation |= {"networks": len(result.runs), "best": result.row == BEST_ROW}
    # Columns begin with the data set, but for those of the paper's table of architectures, which are of one.
    dataset, _, _ = result.column.rpartition(" ipc ")
    return {"norm": "instance", **result.settings, **evaluation, "dataset": dataset}

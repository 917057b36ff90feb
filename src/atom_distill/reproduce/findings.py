"""What a table says, worked out from its figures: what attention adds to matching embeddings, what whitening adds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scipy import stats

from atom_distill.reproduce.cell import Result

_RARE = 0.05


class Difference(NamedTuple):
    """Difference of two mean accuracies, percentage points, its standard error, and how often chance gives as much."""

    points: float
    error: float
    chance: float

    def __str__(self) -> str:
        return f"{self.points:+.1f} ± {self.error:.1f}"

    @property
    def shown(self) -> bool:
        """Whether chance alone gives as much in less than one case of twenty."""
        return self.chance < _RARE


def difference(one: Result, other: Result) -> Difference:
    """Subtract the second's mean accuracy from the first's; Welch's test, which minds few networks, judges chance."""
    variance = one.std**2 / len(one.runs) + other.std**2 / len(other.runs)
    alone = min(len(one.runs), len(other.runs)) < 2
    chance = 1.0 if alone else float(stats.ttest_ind(one.runs, other.runs, equal_var=False).pvalue)
    return Difference(one.mean - other.mean, math.sqrt(variance), chance)


def findings(results: Sequence[Result]) -> list[str]:
    """Say what the figures come to where a table holds what it takes."""
    attention = list(_differences(results, "method", "atom", "dm"))
    whitening = list(_differences(results, "preprocess", "zca", "normalize"))
    told = []
    if attention:
        told.append(
            f"What attention adds to the embedding (atom minus dm, points, standard error): {_listed(attention)}."
        )
    if whitening:
        told.append(f"What whitening adds (zca minus normalize, points, standard error): {_listed(whitening)}.")
    return told


def _differences(results: Sequence[Result], what: str, one: str, other: str) -> Iterator[tuple[str, Difference]]:
    """Yield, with a name, the difference between each two results that differ in one thing alone."""
    for first in results:
        for second in results:
            if (
                _value(first, what) == one
                and _value(second, what) == other
                and _rest(first, what) == _rest(second, what)
            ):
                yield (first.column if what == "method" else first.row), difference(first, second)


def _value(result: Result, what: str) -> object:
    return result.preprocess if what == "preprocess" else result.settings[what]


def _rest(result: Result, what: str) -> tuple[object, ...]:
    """Give everything of a result that must be the same for a comparison."""
    settings = {name: value for name, value in result.settings.items() if name not in (what, "preprocess")}
    preprocess = None if what == "preprocess" else result.preprocess
    how = (result.protocol, result.arch, result.precision, len(result.runs), result.steps)
    return (sorted(settings.items()), preprocess, *how)


def _listed(differences: Sequence[tuple[str, Difference]]) -> str:
    told = [f"{name} {found}" + ("" if found.shown else ", which may be chance") for name, found in differences]
    return "; ".join(told)

"""What a proxy's ranking of architectures is worth, against their accuracy after training on the whole set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy import stats

TOP = 0.1
"""Share of the architectures, the truly best, over which correlation is also measured."""
_FEWEST = 3
"""Pairs below which a correlation says nothing."""


class Correlation(NamedTuple):
    """Rank correlation: Spearman's rho and Kendall's tau-b, in [-1, 1], over `size` architectures."""

    spearman: float
    kendall: float
    size: int


def correlation(proxy: Sequence[float], truth: Sequence[float]) -> Correlation | None:
    """Correlate two scores of the same architectures.

    Args:
        proxy: one score each; ties are given their mean rank.
        truth: the other, in the same order.

    Returns:
        None where there are fewer than three, or one side ranks nothing because all are equal.
    """
    if len(proxy) < _FEWEST or len(set(proxy)) == 1 or len(set(truth)) == 1:
        return None
    rho = float(stats.spearmanr(proxy, truth).statistic)
    tau = float(stats.kendalltau(proxy, truth).statistic)
    return Correlation(rho, tau, len(proxy))


def best(truth: Mapping[str, float], share: float = TOP) -> list[str]:
    """Name the truly best architectures: the share, rounded up, and those that equal the last of them."""
    if not truth:
        return []
    ranked = sorted(truth, key=lambda name: -truth[name])
    last = truth[ranked[math.ceil(share * len(ranked)) - 1]]
    return [name for name in ranked if truth[name] >= last]

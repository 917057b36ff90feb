"""The result of a search: all outcomes, the ranking of each proxy, and how good that ranking is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict
from scipy import stats

from atom_distill.search.proxies import Proxy
from atom_distill.search.space import Unfit
from atom_distill.search.trials import Outcome, Plan

_BEST_SHARE = 0.1
"""Share of the architectures, the truly best, over which correlation is also measured."""
_FEWEST = 3
"""Architectures below which a correlation means nothing."""
_RUNG_WEIGHT = 1000.0
"""Percent: more than any accuracy, so that a later rung ranks before a higher accuracy."""


class Correlation(BaseModel):
    """Rank correlation: Spearman's rho and Kendall's tau-b, in [-1, 1], over `size` architectures."""

    model_config = ConfigDict(frozen=True)

    spearman: float
    kendall: float
    size: int


class ProxyQuality(BaseModel):
    """How well training on a proxy ranks the architectures.

    Attributes:
        proxy: by name.
        images: that it needs stored.
        chosen: the architecture that it ranks first; None where every trial failed.
        chosen_accuracy: test accuracy of that one after training on the whole set, percent.
        overall: rank correlation with the test accuracies after training on the whole set.
        top: the same over the truly best tenth.
        seconds: sum over its trials.
        epochs: over its images, sum over its trials.
        finished, failed: number of trials.
    """

    model_config = ConfigDict(frozen=True)

    proxy: str
    images: int
    chosen: str | None
    chosen_accuracy: float | None
    overall: Correlation | None
    top: Correlation | None
    seconds: float
    epochs: float
    finished: int
    failed: int


@dataclass(frozen=True)
class RankedArchitecture:
    """An architecture on a proxy: the last rung of halving that it reached, and its accuracy there, percent."""

    architecture: str
    rung: int
    accuracy: float


@dataclass
class SearchResult:
    """What a search has found so far.

    Attributes:
        plan: the trials.
        unfit: architectures that do not fit the images.
        workers: where the trials ran, for people.
        outcomes: of all trials so far, failures included.
        finished: whether these are all trials.
    """

    plan: Plan
    unfit: Sequence[Unfit] = ()
    workers: str = ""
    outcomes: list[Outcome] = field(default_factory=list)
    finished: bool = False

    def true_accuracies(self) -> dict[str, float]:
        """Return the test accuracy of each architecture that was trained on the whole set, percent."""
        return {one.architecture: one.test_accuracy for one in self.outcomes if one.test_accuracy is not None}

    def ranking(self, proxy: Proxy) -> list[RankedArchitecture]:
        """Return the architectures as a proxy ranks them, best first; those that failed are left out."""
        protocols = list(self.plan.rungs(proxy))
        last: dict[str, RankedArchitecture] = {}
        for one in self.outcomes:
            if one.proxy == proxy.name and one.accuracy is not None:
                ranked = RankedArchitecture(one.architecture, protocols.index(one.protocol), one.accuracy)
                if one.architecture not in last or ranked.rung > last[one.architecture].rung:
                    last[one.architecture] = ranked
        return sorted(last.values(), key=lambda one: (-one.rung, -one.accuracy, one.architecture))

    def proxy_qualities(self) -> list[ProxyQuality]:
        """Return how well each proxy ranks the architectures."""
        return [self._quality(proxy) for proxy in self.plan.proxies]

    def _quality(self, proxy: Proxy) -> ProxyQuality:
        outcomes = [one for one in self.outcomes if one.proxy == proxy.name]
        truth, ranking = self.true_accuracies(), self.ranking(proxy)
        chosen = ranking[0].architecture if ranking else None
        compared = [one for one in ranking if one.architecture in truth] if self.plan.trains_all_on_whole else []
        best = best_architectures(truth)
        return ProxyQuality(
            proxy=proxy.name,
            images=proxy.images,
            chosen=chosen,
            chosen_accuracy=truth.get(chosen) if chosen is not None else None,
            overall=_correlation_with(truth, compared),
            top=_correlation_with(truth, [one for one in compared if one.architecture in best]),
            seconds=sum(one.seconds for one in outcomes),
            epochs=sum(_epochs(proxy, one) for one in outcomes if one.failure is None),
            finished=sum(one.failure is None for one in outcomes),
            failed=sum(one.failure is not None for one in outcomes),
        )


def correlation(scores: Sequence[float], others: Sequence[float]) -> Correlation | None:
    """Return the rank correlation of two scores of the same architectures.

    Args:
        scores: one of each; ties are given their mean rank.
        others: the other of each, in the same order.

    Returns:
        None where there are fewer than three, or all of one side are equal.
    """
    if len(scores) < _FEWEST or len(set(scores)) == 1 or len(set(others)) == 1:
        return None
    rho = float(stats.spearmanr(scores, others).statistic)
    tau = float(stats.kendalltau(scores, others).statistic)
    return Correlation(spearman=rho, kendall=tau, size=len(scores))


def best_architectures(truth: Mapping[str, float]) -> list[str]:
    """Return the names of the best tenth, rounded up, and of those that equal the last of them."""
    ranked = sorted(truth, key=lambda name: -truth[name])
    tenth = ranked[: math.ceil(_BEST_SHARE * len(ranked))]
    return [name for name in ranked if truth[name] >= truth[tenth[-1]]]


def _correlation_with(truth: Mapping[str, float], ranking: Sequence[RankedArchitecture]) -> Correlation | None:
    scores = [_RUNG_WEIGHT * one.rung + one.accuracy for one in ranking]
    return correlation(scores, [truth[one.architecture] for one in ranking])


def _epochs(proxy: Proxy, outcome: Outcome) -> float:
    """Return how many passes over a proxy's images a trial took."""
    epochs = outcome.protocol.epochs
    if proxy.updates is None:
        return epochs
    return min(epochs, proxy.updates / math.ceil(proxy.images / outcome.protocol.batch_size))

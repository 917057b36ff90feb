"""Judging proxies: what each ranks first, and how its ranking agrees with training on the whole set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from atom_distill.search.plan import Plan
from atom_distill.search.proxy import Proxy
from atom_distill.search.ranking import Correlation, best, correlation
from atom_distill.search.trial import Outcome

_BEYOND = 1000.0
"""Percent: more than any accuracy, so that a rung counts before the accuracy in it."""


class Standing(BaseModel):
    """How far an architecture came on a proxy: the rung of halving, and the accuracy there, percent."""

    model_config = ConfigDict(frozen=True)

    architecture: str
    rung: int
    accuracy: float


class Verdict(BaseModel):
    """What a proxy's ranking is worth.

    Attributes:
        proxy: by name.
        images: that it needs stored.
        chosen: the architecture that it ranks first; None where every trial failed.
        chosen_accuracy: test accuracy of that one after training on the whole set, percent.
        overall: rank correlation with the test accuracies after training on the whole set.
        top: the same over the truly best tenth.
        seconds: of all its trials, one after another.
        epochs: over its images, that were trained in all.
        finished, failed: trials.
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


def standings(plan: Plan, outcomes: Sequence[Outcome]) -> dict[str, list[Standing]]:
    """Rank the architectures on each proxy, best first."""
    return {proxy.name: _standings(plan, proxy, outcomes) for proxy in plan.proxies}


def verdicts(plan: Plan, outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Judge each proxy of a plan by the outcomes so far."""
    truth = truth_of(outcomes)
    return [_verdict(plan, proxy, outcomes, truth) for proxy in plan.proxies]


def truth_of(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Give the test accuracy of each architecture that was trained on the whole set, percent."""
    return {one.architecture: one.test_accuracy for one in outcomes if one.test_accuracy is not None}


def _standings(plan: Plan, proxy: Proxy, outcomes: Sequence[Outcome]) -> list[Standing]:
    rungs = plan.rungs(proxy)
    furthest: dict[str, Standing] = {}
    for one in outcomes:
        if one.proxy != proxy.name or one.accuracy is None:
            continue
        here = Standing(architecture=one.architecture, rung=list(rungs).index(one.protocol), accuracy=one.accuracy)
        if one.architecture not in furthest or here.rung > furthest[one.architecture].rung:
            furthest[one.architecture] = here
    return sorted(furthest.values(), key=lambda one: (-one.rung, -one.accuracy, one.architecture))


def _verdict(plan: Plan, proxy: Proxy, outcomes: Sequence[Outcome], truth: Mapping[str, float]) -> Verdict:
    mine = [one for one in outcomes if one.proxy == proxy.name]
    ranked = _standings(plan, proxy, outcomes)
    chosen = ranked[0].architecture if ranked else None
    judged = [one for one in ranked if one.architecture in truth] if plan.knows_truth else []
    top = best(truth)
    return Verdict(
        proxy=proxy.name,
        images=proxy.images,
        chosen=chosen,
        chosen_accuracy=truth.get(chosen) if chosen is not None else None,
        overall=_correlation(judged, truth),
        top=_correlation([one for one in judged if one.architecture in top], truth),
        seconds=sum(one.seconds for one in mine),
        epochs=sum(_epochs(proxy, one) for one in mine if one.failure is None),
        finished=sum(one.failure is None for one in mine),
        failed=sum(one.failure is not None for one in mine),
    )


def _correlation(ranked: Sequence[Standing], truth: Mapping[str, float]) -> Correlation | None:
    scores = [_BEYOND * one.rung + one.accuracy for one in ranked]
    return correlation(scores, [truth[one.architecture] for one in ranked])


def _epochs(proxy: Proxy, outcome: Outcome) -> float:
    """Give the passes over a proxy's images that a trial took."""
    length = outcome.protocol.epochs
    if proxy.updates is None:
        return length
    return min(length, proxy.updates / math.ceil(proxy.images / outcome.protocol.batch_size))

"""What a search is to do: which trials, in which rungs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atom_distill.base.errors import ConfigError
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.search.proxy import Proxy
from atom_distill.search.space import Candidate
from atom_distill.search.trial import Trial

HALVING = 3
"""Of successive halving, how many times fewer architectures go on, for as many times more epochs."""
_RUNGS = 3


@dataclass(frozen=True)
class Plan:
    """What is searched, and how.

    Attributes:
        candidates: architectures.
        proxies: what each is trained on.
        whole: the whole set, which tells what a proxy's choice is worth.
        protocols: of training on distilled and random images, from the first rung of halving to the last; else one.
        whole_protocol: of training on the whole set; early stopping begins it and stops.
        seed: of all trials.

    Raises:
        ConfigError: there are rungs and nothing to train by them.
    """

    candidates: Sequence[Candidate]
    proxies: Sequence[Proxy]
    whole: Proxy
    protocols: Sequence[TrainingProtocol]
    whole_protocol: TrainingProtocol
    seed: int = 0

    def __post_init__(self) -> None:
        if self.halves and not any(proxy.is_small for proxy in self.proxies):
            raise ConfigError("--halving is for trainings on distilled and random images, and no proxy is one of these")

    @property
    def halves(self) -> bool:
        """Whether most architectures get a short training only."""
        return len(self.protocols) > 1

    @property
    def knows_truth(self) -> bool:
        """Whether every architecture is trained on the whole set, so that rankings can be judged."""
        return any(proxy.kind == "whole" for proxy in self.proxies)

    def rungs(self, proxy: Proxy) -> Sequence[TrainingProtocol]:
        """Give how networks train on a proxy, from one rung of successive halving to the next."""
        return self.protocols if proxy.is_small else [self.whole_protocol]

    def trials(self, rung: int, standing: Mapping[str, Sequence[Candidate]]) -> list[Trial]:
        """Give the trials of a rung.

        Args:
            rung: from 0.
            standing: by proxy, the candidates that came so far.
        """
        return [
            Trial(candidate, proxy, self.rungs(proxy)[rung], self.seed)
            for proxy in self.proxies
            if rung < len(self.rungs(proxy))
            for candidate in standing[proxy.name]
        ]


def halving_epochs(epochs: int) -> list[int]:
    """Give the lengths of training from the first rung of successive halving to the last, which is the full one.

    Raises:
        ConfigError: the first rung would be less than an epoch.

    Source: Jamieson & Talwalkar, "Non-stochastic best arm identification" (AISTATS 2016), by thirds.
    """
    shortest = HALVING ** (_RUNGS - 1)
    if epochs < shortest:
        raise ConfigError(f"--halving begins with a {shortest}th of the epochs: give --epochs {shortest} or more")
    return [round(epochs / HALVING**level) for level in reversed(range(_RUNGS))]


def going_on(count: int) -> int:
    """Say how many of so many candidates go on to the next rung."""
    return max(1, math.ceil(count / HALVING))

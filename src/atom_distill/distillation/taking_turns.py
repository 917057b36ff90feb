"""Matching networks of several architectures that take turns in the steps of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from atom_distill.distillation.step import MatchingStep
from atom_distill.ops.parameterization import Stored


class TakingTurns:
    """Step n is one in the network number n modulo their count: a function of the step alone, so runs can be resumed.

    All steps draw the same real images and augmentations as a run in one network would.

    Args:
        architectures: name of each network.
        steps: that of each network.
    """

    def __init__(self, architectures: Sequence[str], steps: Sequence[MatchingStep]) -> None:
        self._turns = list(zip(architectures, steps, strict=True))
        self._last = self._turns[0]

    def gradients(self, stored: Stored, step: int) -> Iterator[Tensor]:
        """See `Matching.gradients`."""
        self._last = self._turns[step % len(self._turns)]
        yield from self._last[1].gradients(stored, step)

    def term_names(self, stored: Stored) -> tuple[str, ...]:
        """Return the names of the terms of the last step, each with its architecture: networks have different ones."""
        arch, step = self._last
        return tuple(f"{arch} {name}" for name in step.term_names(stored))

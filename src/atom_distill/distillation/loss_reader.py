"""The losses of steps, read from a device several at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.processes.ranks import Ranks


@dataclass(frozen=True)
class StepLoss:
    """The loss of an update.

    Attributes:
        step: in which it was made, counted from 0.
        terms: of the loss by name, over all ranks.
    """

    step: int
    terms: dict[str, float]

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return math.fsum(self.terms.values())


class LossReader:
    """Remembers losses, and reads them every few steps: to read one makes the host wait for all that a GPU has to do.

    Args:
        ranks: over which losses are added up.
        every: number of steps after which they are read.
    """

    def __init__(self, ranks: Ranks, every: int) -> None:
        self._ranks, self._every = ranks, every
        self._unread: list[tuple[int, tuple[str, ...], Tensor]] = []

    def add(self, step: int, names: tuple[str, ...], terms: Tensor) -> None:
        """Remember the terms [T] of an update, which a replayed CUDA graph may overwrite, and their names."""
        self._unread.append((step, names, terms.detach().clone()))

    def is_due(self, step: int) -> bool:
        """Return whether there are losses of enough steps, of which this is the last."""
        return step - self._unread[0][0] + 1 >= self._every

    def read(self, *, stop: bool) -> tuple[list[StepLoss], bool]:
        """Return the unread losses, and whether to stop. All ranks call it after the same step, and are told the same.

        Args:
            stop: whether this rank is asked to; a signal may arrive at any moment, and at some ranks only.
        """
        unread, self._unread = self._unread, []
        all_terms = torch.cat([terms for _, _, terms in unread]).cpu().double()
        *summed, stops = self._ranks.sum(torch.cat([all_terms, torch.tensor([float(stop)])])).tolist()
        values = iter(summed)
        return [StepLoss(step, {name: next(values) for name in names}) for step, names, _ in unread], stops > 0

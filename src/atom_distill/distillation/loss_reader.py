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
        terms: of the loss, over all ranks.
    """

    step: int
    terms: tuple[float, ...]

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return math.fsum(self.terms)


class LossReader:
    """Remembers losses, and reads them every few steps: to read one makes the host wait for all that a GPU has to do.

    Args:
        ranks: over which losses are added up.
        every: number of steps after which they are read.
    """

    def __init__(self, ranks: Ranks, every: int) -> None:
        self._ranks, self._every = ranks, every
        self._unread: list[tuple[int, Tensor]] = []

    def add(self, step: int, terms: Tensor) -> None:
        """Remember the terms [T] of an update, which a replayed CUDA graph may overwrite."""
        self._unread.append((step, terms.detach().clone()))

    def is_due(self, step: int) -> bool:
        """Return whether there are losses of enough steps, of which this is the last."""
        return step - self._unread[0][0] + 1 >= self._every

    def read(self, *, stop: bool) -> tuple[list[StepLoss], bool]:
        """Return the unread losses, and whether to stop. All ranks call it after the same step, and are told the same.

        Args:
            stop: whether this rank is asked to; a signal may arrive at any moment, and at some ranks only.
        """
        steps = [step for step, _ in self._unread]
        terms = torch.stack([terms for _, terms in self._unread]).cpu().double()
        self._unread.clear()
        news = self._ranks.sum(torch.cat([terms.flatten(), torch.tensor([float(stop)])]))
        summed = news[:-1].view(terms.shape).tolist()
        return [StepLoss(step, tuple(of_step)) for step, of_step in zip(steps, summed, strict=True)], bool(news[-1])

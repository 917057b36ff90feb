"""Which classes a rank works on, and its rows of tensors that have a row for each stored image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.processes.ranks import Ranks


@dataclass(frozen=True, eq=False)
class Shard:
    """A rank's share of the classes: rank r of W has r, r + W, r + 2 W, ...

    The loss is a sum over classes, so each rank optimizes the rows of its own, and only sums are exchanged in a step.
    Every random number is drawn for all classes on all ranks: the number of ranks changes no draw.

    Attributes:
        ranks: all of them.
        rows_per_class: stored rows of every class, int64 [K].

    Raises:
        ConfigError: a rank would have nothing to do.
    """

    ranks: Ranks
    rows_per_class: Tensor

    def __post_init__(self) -> None:
        if self.ranks.size > len(self.rows_per_class):
            raise ConfigError(
                f"{self.ranks.size} processes for {len(self.rows_per_class)} classes: a class is never divided, so "
                f"start at most one for each (--nproc-per-node={len(self.rows_per_class)})"
            )

    @cached_property
    def classes(self) -> Tensor:
        """The rank's classes, int64."""
        return torch.arange(self.ranks.rank, len(self.rows_per_class), self.ranks.size)

    def take(self, tensor: Tensor) -> Tensor:
        """Return the rank's rows of a tensor [R, ...] of all rows."""
        return tensor if self.ranks.size == 1 else tensor[self._rows.to(tensor.device)]

    def gather(self, mine: Tensor) -> Tensor:
        """Return the rows of all ranks [R, ...], on the CPU where there are several ranks."""
        if self.ranks.size == 1:
            return mine
        everything = torch.zeros(int(self.rows_per_class.sum()), *mine.shape[1:], dtype=mine.dtype)
        everything[self._rows] = mine.detach().cpu()
        return self.ranks.sum(everything)  # elsewhere the rows are zero, so nothing is rounded

    @cached_property
    def _rows(self) -> Tensor:
        return torch.isin(class_labels(self.rows_per_class), self.classes).nonzero().flatten()

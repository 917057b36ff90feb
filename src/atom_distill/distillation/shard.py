"""Which classes a rank works on, and its rows of what has a row for each synthetic image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.processes.ranks import Ranks


@dataclass(frozen=True)
class Shard:
    """A rank's share of the classes: rank r of W has r, r + W, r + 2 W, ...

    The loss is a sum over classes, so each rank moves the images of its own, and nothing but sums is exchanged in a
    step. Every random number is drawn for all classes on all ranks: how many there are changes no draw.

    Attributes:
        ranks: all of them.
        per_class: synthetic images of every class, int64 [K].

    Raises:
        ConfigError: a rank would have nothing to do.
    """

    ranks: Ranks
    per_class: Tensor

    def __post_init__(self) -> None:
        if self.ranks.size > len(self.per_class):
            raise ConfigError(
                f"{self.ranks.size} processes for {len(self.per_class)} classes: a class is never divided, so start at "
                f"most one for each (--nproc-per-node={len(self.per_class)})"
            )

    @cached_property
    def classes(self) -> Tensor:
        """The rank's classes, int64."""
        return torch.arange(self.ranks.rank, len(self.per_class), self.ranks.size)

    def take(self, images: Tensor) -> Tensor:
        """Give the rank's rows of a tensor [M, ...] of all images."""
        return images if self.ranks.size == 1 else images[self._rows.to(images.device)]

    def whole(self, mine: Tensor) -> Tensor:
        """Put the rows of all ranks together; each rank gets all, [M, ...], on the CPU where there are several."""
        if self.ranks.size == 1:
            return mine
        everything = torch.zeros(len(class_labels(self.per_class)), *mine.shape[1:], dtype=mine.dtype)
        everything[self._rows] = mine.detach().cpu()
        return self.ranks.sum(everything)  # elsewhere the rows are zero, so nothing is rounded

    @cached_property
    def _rows(self) -> Tensor:
        return torch.isin(class_labels(self.per_class), self.classes).nonzero().flatten()

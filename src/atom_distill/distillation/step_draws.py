"""What a step draws at random: its classes, their stored rows, their real images and their augmentation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.distillation.prefixes import Prefixes
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.shard import Shard
from atom_distill.ops.dsa import Draw, draw_per_class


@dataclass(frozen=True, eq=False)
class StepClasses:
    """The n classes of a step on this rank; all else in the step is by place among them.

    Attributes:
        in_shard: place of each in the shard, int64 [n] ascending.
        numbers: number of each in the data set, int64 [n].
        rows: stored rows of each in the step, int64 [n].
        draw: augmentation of each; None for none.
        growing: places of those whose loss is computed, int64 ascending; None for all.
    """

    in_shard: Tensor
    numbers: Tensor
    rows: Tensor
    draw: Draw | None
    growing: Tensor | None

    @property
    def none_grows(self) -> bool:
        """Whether there is no loss to compute."""
        return not len(self.in_shard if self.growing is None else self.growing)

    def any_grows(self, places: Tensor) -> bool:
        """Return whether a growing class is among some places."""
        return self.growing is None or bool(torch.isin(places, self.growing).any())

    def growing_in(self, first: int, last: int) -> Tensor | slice:
        """Return which of the places first..last-1 are of growing classes, counted from `first`; or all of them."""
        if self.growing is None:
            return slice(None)
        return torch.isin(torch.arange(first, last), self.growing).nonzero().flatten()


@dataclass(frozen=True, eq=False)
class StepDraws:
    """Draws of the steps of a run, functions of (seed, step) alone.

    Every draw is one of all classes on all ranks, of which a rank takes its part: the number of ranks changes none.

    Attributes:
        shard: the classes of this rank, of which [k] below.
        sampler: of their real images.
        operations: DSA operations, empty for none.
        seed: the run's seed.
        batch: stored rows of each class in a step; 0 for all.
        batch_classes: classes of a step, on all ranks together; 0 for all.
        prefixes: sizes of sets within the set, from which the rows of a class are drawn in strata; None for none.
        growing: places in the shard of the classes whose loss is computed, int64 ascending; None for all. Batches are
            composed as if it were all, so that no result depends on it to the last bit.
    """

    shard: Shard
    sampler: ClassSampler
    operations: Sequence[str]
    seed: int
    batch: int = 0
    batch_classes: int = 0
    prefixes: Prefixes | None = None
    growing: Tensor | None = None

    @cached_property
    def rows_per_class(self) -> Tensor:
        """Stored rows of each class of the shard when it is drawn, int64 [k]."""
        rows = self.shard.rows_per_class[self.shard.classes]
        return rows.clamp_max(self.batch) if self.batch else rows

    @property
    def takes_all_classes(self) -> bool:
        """Whether every step has every class."""
        return not 0 < self.batch_classes < len(self.shard.rows_per_class)

    def usual_images(self, per_class: Tensor) -> int:
        """Return the images of a rank's even share of a step, of its largest classes, from those of each class [k]."""
        classes = math.ceil(self.batch_classes / self.shard.ranks.size)
        return int(per_class.sort(descending=True).values[:classes].sum())

    def varies(self, per_class: Tensor) -> bool:
        """Return whether steps of this rank differ in their number of images, from those of each class of the shard."""
        return not self.takes_all_classes and (self.shard.ranks.size > 1 or len(per_class.unique()) > 1)

    def classes(self, step: int) -> StepClasses:
        """Return the classes of a step."""
        in_shard, growing = torch.arange(len(self.shard.classes)), self.growing
        if not self.takes_all_classes:
            order = torch.randperm(len(self.shard.rows_per_class), generator=generator(self.seed, "classes", step))
            in_shard = torch.isin(self.shard.classes, order[: self.batch_classes]).nonzero().flatten()
            if growing is not None:
                growing = torch.isin(in_shard, growing).nonzero().flatten()
        numbers = self.shard.classes[in_shard]
        return StepClasses(in_shard, numbers, self.rows_per_class[in_shard], self._draw(step, numbers), growing)

    def real_images(self, step: int, classes: StepClasses) -> tuple[Tensor, Tensor]:
        """Return the real images of a step: indices into the training split and places of their classes, int64 [b]."""
        chosen, labels = self.sampler.draw(generator(self.seed, "real", step)), self.sampler.labels
        if self.takes_all_classes:
            return chosen, labels
        taken = torch.isin(labels, classes.in_shard)
        return chosen[taken], torch.searchsorted(classes.in_shard, labels[taken])

    def rows(self, step: int, classes: StepClasses) -> Tensor | None:
        """Return the stored rows of a step among those of the shard, int64, class after class; None for all."""
        if not self.batch and self.takes_all_classes:
            return None
        numbers = torch.rand(int(self.shard.rows_per_class.sum()), generator=generator(self.seed, "pictures", step))
        of_class = numbers.split(self.shard.rows_per_class.tolist())
        mine = [of_class[number] for number in self.shard.classes.tolist()]
        starts = [0, *itertools.accumulate(map(len, mine))]
        return torch.cat([starts[place] + self._rows_of(mine[place]) for place in classes.in_shard.tolist()])

    def _rows_of(self, numbers: Tensor) -> Tensor:
        """Return the rows of a class in a step, ascending, by a random number for each row."""
        if self.prefixes is not None:
            return self.prefixes.choose(numbers)
        return numbers.argsort()[: self.batch or None].sort().values

    def _draw(self, step: int, numbers: Tensor) -> Draw | None:
        if not self.operations:
            return None
        classes = len(self.shard.rows_per_class)
        return draw_per_class(classes, self.operations, generator(self.seed, "augment", step)).take(numbers)

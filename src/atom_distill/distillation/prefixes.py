"""Nested sets: the first images of each class are a good set, too, for several numbers of images at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.base.constants import Constant
from atom_distill.base.errors import ConfigError
from atom_distill.ops.matching import matching_loss

_SIZES = (1, 2, 5)
"""Times powers of ten: the numbers of images that sets usually have."""


def usual_sizes(rows: int) -> list[int]:
    """Return 1, 2, 5, 10, 20, 50, ... below a number of rows, and that number."""
    numbers = itertools.takewhile(lambda size: size < rows, (size * 10**power for power in range(9) for size in _SIZES))
    return [*numbers, rows]


@dataclass(frozen=True, eq=False)
class Prefixes:
    """The first rows of a class that are matched as sets of their own, and the rows of a step that stand for them.

    A step that works on a part of the rows draws some from each stratum, the rows between one size and the next. The
    mean of a prefix is then estimated from its strata without bias, and all prefixes from the same rows.

    Attributes:
        rows: stored rows of each class.
        batch: of them in a step; `rows` for all.

    Raises:
        ConfigError: the batch has too few rows for the strata.
    """

    rows: int
    batch: int

    def __post_init__(self) -> None:
        if self.batch < len(self.sizes):
            raise ConfigError(
                f"`nested` works on the first {', '.join(map(str, self.sizes))} images of a class in every step: give "
                f"`batch_synthetic` {len(self.sizes)} or more, or 0 for all"
            )

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of first rows, ascending; the last is all."""
        return usual_sizes(self.rows)

    @cached_property
    def strata(self) -> list[range]:
        """Rows between one size and the next."""
        return [range(first, last) for first, last in itertools.pairwise([0, *self.sizes])]

    @cached_property
    def taken(self) -> list[int]:
        """Rows of each stratum in a step: equally many where it has as many; larger strata take what is left."""
        left, found = self.batch, []
        for position, stratum in enumerate(self.strata):  # ascending but for the last, which takes what is left
            share = left // (len(self.strata) - position)
            found.append(min(len(stratum), share))
            left -= found[-1]
        for position in reversed(range(len(found))):
            more = min(left, len(self.strata[position]) - found[position])
            found[position] += more
            left -= more
        return found

    def choose(self, numbers: Tensor) -> Tensor:
        """Return the rows of a class in a step, ascending.

        Args:
            numbers: random, [rows]; of each stratum the rows with the smallest are taken.
        """
        chosen = [
            stratum.start + numbers[stratum.start : stratum.stop].argsort()[:count].sort().values
            for stratum, count in zip(self.strata, self.taken, strict=True)
        ]
        return torch.cat(chosen)

    @cached_property
    def weights(self) -> Constant:
        """What makes the means of the prefixes of the rows of a step, float32 [P, batch]; each row adds up to 1."""
        table = torch.zeros(len(self.sizes), self.batch)
        for prefix, size in enumerate(self.sizes):
            start = 0
            for stratum, count in list(zip(self.strata, self.taken, strict=True))[: prefix + 1]:
                table[prefix, start : start + count] = len(stratum) / size / count
                start += count
        return Constant(table)

    def means(self, vectors: Tensor, images_per_row: int) -> Tensor:
        """Return the means of the prefixes of each class, [P, K, D], differentiable; the last is that of all images.

        Args:
            vectors: of the images of a step, [K, batch * images_per_row, D].
            images_per_row: decoded images of a stored row.
        """
        of_rows = vectors.unflatten(1, (self.batch, images_per_row)).mean(2)
        return torch.einsum("pn,knd->pkd", self.weights.like(vectors), of_rows)

    def loss(self, means_real: Tensor, means: Sequence[Tensor]) -> Tensor:
        """Return the matching loss of all prefixes but the last, each weighted by its share of the rows.

        The gradient of the mean of n images is an n-th for each of them: with these weights, every prefix pulls at its
        images as strongly as the whole set at all of them.

        Args:
            means_real: [K, D].
            means: of each of these prefixes, [K, D].
        """
        losses = [
            size / self.rows * matching_loss(means_real, mean)
            for size, mean in zip(self.sizes[:-1], means, strict=True)
        ]
        return torch.stack(losses).sum() if losses else means_real.new_zeros(())

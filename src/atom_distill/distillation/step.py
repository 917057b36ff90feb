"""One step of matching: the loss, and its gradient on the synthetic images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.data.sampler import ClassSampler
from atom_distill.distillation.encoder import Encoder
from atom_distill.ops.dsa import Draw, augment, draw_per_class
from atom_distill.ops.matching import class_means, class_sums, matching_loss

_CHUNKS_PREPARED = 10
"""Chunks of real images that are whitened and augmented at once: few enough to stay in the cache, enough for a matrix
product to be worth its weights."""


@dataclass(frozen=True)
class MatchingStep:
    """What one step computes, a function of (seed, step) and the images alone.

    Attributes:
        sampler: gives the real images.
        encoder: gives signatures.
        operations: DSA operations, empty for none.
        ipc: synthetic images per class.
        seed: the run's seed.
        chunk: images in one forward.
    """

    sampler: ClassSampler
    encoder: Encoder
    operations: Sequence[str]
    ipc: int
    seed: int
    chunk: int

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.sampler.counts)

    def gradients(self, images: Tensor, step: int) -> Iterator[Tensor]:
        """Add the gradient of the step's one update to `images.grad`, and yield the loss, shape []."""
        yield self(images, step)

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Add the loss's gradient to `images.grad` and return the loss.

        Args:
            images: synthetic images in model space, a float32 leaf [K * ipc, C, H, W], class after class.
            step: which step, counted from 0.

        Returns:
            The loss of all classes, detached, shape [].
        """
        self.encoder.renew(generator(self.seed, "network", step))
        draw = self._draw(step)
        means_real = self.real_means(step, draw)
        total = images.new_zeros(())
        for first, last in self._class_ranges():
            loss = matching_loss(means_real[first:last], self._synthetic_means(images, draw, first, last))
            self.encoder.backward(loss)
            total += loss.detach()
        return total

    def real_means(self, step: int, draw: Draw | None) -> Tensor:
        """Give the class means [K, D] of the step's real images."""
        chosen = self.sampler.draw(generator(self.seed, "real", step))
        block = self.chunk * _CHUNKS_PREPARED
        sums: Tensor | None = None
        for indices, labels in zip(chosen.split(block), self.sampler.labels.split(block), strict=True):
            images = self.sampler.load(indices)
            if draw is not None:
                images = augment(images, draw, labels)
            for part, part_labels in zip(images.split(self.chunk), labels.split(self.chunk), strict=True):
                signatures = self.encoder.real(part)
                part_sums = class_sums(signatures, part_labels.to(signatures.device), self.num_classes)
                sums = part_sums if sums is None else sums.add_(part_sums)
        assert sums is not None  # a data set without images does not get here
        return sums / self.sampler.counts.to(sums.device, sums.dtype).unsqueeze(1)

    def _synthetic_means(self, images: Tensor, draw: Draw | None, first: int, last: int) -> Tensor:
        """Give the class means [last - first, D] of classes first..last-1, differentiable."""
        part = images[first * self.ipc : last * self.ipc]
        owners = torch.repeat_interleave(torch.arange(first, last), self.ipc)
        if draw is not None:
            part = augment(part, draw, owners)
        signatures = self.encoder.synthetic(part)
        return class_means(signatures, (owners - first).to(signatures.device), last - first)

    def _draw(self, step: int) -> Draw | None:
        if not self.operations:
            return None
        return draw_per_class(self.num_classes, self.operations, generator(self.seed, "augment", step))

    def _class_ranges(self) -> Iterator[tuple[int, int]]:
        """Cut the classes into ranges as even as possible, so that compiled code sees two sizes at most.

        The loss is a sum over classes, so each range can be differentiated, and its memory freed, alone.
        """
        per_range = max(1, self.chunk // self.ipc)
        ranges = -(-self.num_classes // per_range)
        for index in range(ranges):
            yield self.num_classes * index // ranges, self.num_classes * (index + 1) // ranges

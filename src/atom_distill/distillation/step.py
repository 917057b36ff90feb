"""One step of matching: the loss, and its gradient on the synthetic images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.shard import Shard
from atom_distill.ops.dsa import Draw, augment, draw_per_class
from atom_distill.ops.matching import class_means, class_sums, matching_loss, matching_terms

_CHUNKS_PREPARED = 10
"""Chunks of real images that are whitened and augmented at once: few enough to stay in the cache, enough for a matrix
product to be worth its weights."""


@dataclass(frozen=True)
class MatchingStep:
    """What one step computes, a function of (seed, step) and the images alone.

    Attributes:
        shard: the classes to work on; [k] of them below.
        sampler: gives their real images.
        encoder: gives matching_vectors.
        operations: DSA operations, empty for none.
        seed: the run's seed.
        chunk: images in one forward.
    """

    shard: Shard
    sampler: ClassSampler
    encoder: Encoder
    operations: Sequence[str]
    seed: int
    chunk: int

    @property
    def num_classes(self) -> int:
        """Of the shard."""
        return len(self.shard.classes)

    @cached_property
    def per_class(self) -> Tensor:
        """Synthetic images of each class of the shard, int64 [k]."""
        return self.shard.per_class[self.shard.classes]

    def gradients(self, images: Tensor, step: int) -> Iterator[Tensor]:
        """Add the gradient of the step's one update to `images.grad`, and yield the loss by term, shape [T]."""
        yield self(images, step)

    def term_names(self, images: Tensor) -> tuple[str, ...]:
        """Name the terms of the loss of such images."""
        return tuple(term.name for term in self.encoder.terms(images))

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Add the loss's gradient to `images.grad` and return the loss by term.

        Args:
            images: synthetic images in model space, a float32 leaf [m, C, H, W], class after class of the shard.
            step: which step, counted from 0.

        Returns:
            The terms of the loss of these classes, detached, shape [T]; their sum is the loss.
        """
        terms = self.encoder.terms(images)
        self.encoder.renew(generator(self.seed, "network", step))
        draw = self._draw(step)
        means_real = self.real_means(step, draw)
        if images.grad is None:
            images.grad = torch.zeros_like(images)
        total = images.new_zeros(len(terms))
        for first, last in self._class_ranges():
            rows = slice(int(self.per_class[:first].sum()), int(self.per_class[:last].sum()))
            # A leaf of its own: the gradient of a slice of all images would be as large as all of them.
            part = images.detach()[rows].requires_grad_()
            means_syn = self._synthetic_means(part, draw, first, last)
            self.encoder.backward(matching_loss(means_real[first:last], means_syn))
            assert part.grad is not None
            images.grad[rows] += part.grad
            total += matching_terms(means_real[first:last], means_syn, terms)
        return total

    def real_means(self, step: int, draw: Draw | None) -> Tensor:
        """Give the class means [k, D] of the step's real images."""
        blocks, sums = self._blocks(step), None
        for index, (indices, labels) in enumerate(blocks):
            images = self.sampler.load(indices)
            if self.sampler.reads_ahead:
                # After the last block the next step's first one, which is drawn here and there: drawing is cheap.
                following = blocks[index + 1] if index + 1 < len(blocks) else self._blocks(step + 1)[0]
                self.sampler.read_ahead(following[0])
            if draw is not None:
                images = augment(images, draw, labels)
            for part, part_labels in zip(images.split(self.chunk), labels.split(self.chunk), strict=True):
                matching_vectors = self.encoder.real(part)
                if sums is None:
                    sums = matching_vectors.new_zeros(self.num_classes, matching_vectors.shape[1])
                # Images come class after class, so a chunk has few classes, and adds to their rows alone.
                first, last = int(part_labels[0]), int(part_labels[-1]) + 1
                within = (part_labels - first).to(matching_vectors.device)
                sums[first:last] += class_sums(matching_vectors, within, last - first)
        assert sums is not None  # a data set without images does not get here
        return sums / self.sampler.counts.to(sums.device, sums.dtype).unsqueeze(1)

    def _blocks(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """Cut a step's real images into what is prepared at once: indices and labels, both int64 [b]."""
        chosen = self.sampler.draw(generator(self.seed, "real", step))
        size = self.chunk * _CHUNKS_PREPARED
        return list(zip(chosen.split(size), self.sampler.labels.split(size), strict=True))

    def _synthetic_means(self, images: Tensor, draw: Draw | None, first: int, last: int) -> Tensor:
        """Give the class means [last - first, D] of the images of classes first..last-1, differentiable."""
        labels = class_labels(self.per_class[first:last])
        if draw is not None:
            images = augment(images, draw, labels + first)
        matching_vectors = self.encoder.synthetic(self._filled(images))[: len(images)]
        return class_means(matching_vectors, labels.to(matching_vectors.device), last - first)

    def _filled(self, images: Tensor) -> Tensor:
        """Where classes differ in size, repeat the last image up to a multiple of a chunk, or of the largest range.

        Code is compiled for one size of batch, and would be once more for each size of range.
        """
        if not self.encoder.compiled or len(set(self.per_class.tolist())) == 1:
            return images
        unit = min(self.chunk, self._largest_range)
        return torch.cat([images, images[-1:].expand(-len(images) % unit, -1, -1, -1)])

    @cached_property
    def _largest_range(self) -> int:
        return max(int(self.per_class[first:last].sum()) for first, last in self._class_ranges())

    def _draw(self, step: int) -> Draw | None:
        if not self.operations:
            return None
        everybody = draw_per_class(len(self.shard.per_class), self.operations, generator(self.seed, "augment", step))
        return everybody.take(self.shard.classes)

    def _class_ranges(self) -> Iterator[tuple[int, int]]:
        """Cut the classes into ranges of at most `chunk` images, or one class.

        The loss is a sum over classes, so each range can be differentiated, and its memory freed, alone. Where all
        classes have as many images, the ranges are of one size but for the last: compiled code sees two at most.
        """
        first, images = 0, 0
        for label, count in enumerate(self.per_class.tolist()):
            if images and images + count > self.chunk:
                yield first, label
                first, images = label, 0
            images += count
        yield first, self.num_classes

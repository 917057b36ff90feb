"""One step of matching: the loss, and its gradient on the stored values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.distillation.classifier import Classifier
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.matching_execution import CHUNKS_PREPARED
from atom_distill.distillation.prefixes import Prefixes
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.shard import Shard
from atom_distill.ops.dsa import Draw, augment, draw_per_class
from atom_distill.ops.matching import class_means, class_sums, matching_loss, matching_terms, unique_names
from atom_distill.ops.parameterization import Parameterization, Stored


@dataclass(frozen=True, eq=False)
class MatchingStep:
    """What one step computes, a function of (seed, step) and the stored values alone.

    Attributes:
        shard: the classes to work on; [k] of them below.
        sampler: loads their real images.
        encoder: computes matching vectors.
        parameterization: decodes the stored values to images.
        operations: DSA operations, empty for none.
        seed: the run's seed.
        chunk: images in one forward pass.
        batch: stored rows of each class in a step, drawn anew each time; 0 for all.
        prefixes: first rows of each class that are matched as sets of their own, too; None for none.
        classifier: a second network, whose loss of the synthetic images is added; None for none.
        growing: places in the shard of the classes whose loss is computed, int64 ascending; None for all. What images
            pass the network together stays as it is for all, so that no result depends on it to the last bit.
    """

    shard: Shard
    sampler: ClassSampler
    encoder: Encoder
    parameterization: Parameterization
    operations: Sequence[str]
    seed: int
    chunk: int
    batch: int = 0
    prefixes: Prefixes | None = None
    classifier: Classifier | None = None
    growing: Tensor | None = None

    @property
    def num_classes(self) -> int:
        """Classes of the shard."""
        return len(self.shard.classes)

    @cached_property
    def rows_per_class(self) -> Tensor:
        """Stored rows of each class of the shard in a step, int64 [k]."""
        rows = self.shard.rows_per_class[self.shard.classes]
        return rows.clamp_max(self.batch) if self.batch else rows

    @cached_property
    def images_per_class(self) -> Tensor:
        """Decoded images of each class of the shard in a step, int64 [k]."""
        return self.rows_per_class * self.parameterization.images_per_row

    def gradients(self, stored: Stored, step: int) -> Iterator[Tensor]:
        """Add the gradient of the step's one update to each tensor's `grad`, and yield the loss by term, shape [T]."""
        yield self(stored, step)

    def term_names(self, stored: Stored) -> tuple[str, ...]:
        """Return the names of the terms of the loss."""
        names = [*self.encoder.term_names(lambda: self._probe(stored))]
        names += [] if self.classifier is None else [self.classifier.name]
        names += [] if self.prefixes is None else ["smaller sets"]
        return tuple(unique_names(names, "loss"))

    def __call__(self, stored: Stored, step: int) -> Tensor:
        """Add the loss's gradient to each tensor's `grad`, and return the loss by term.

        Args:
            stored: values by name, float32 leaves [r, ...], class after class of the shard.
            step: which step, counted from 0.

        Returns:
            The terms of the loss of these classes, detached, shape [T]; their sum is the loss.
        """
        if self.growing is not None and not len(self.growing):
            for values in stored.values():  # so that optimizers have a state of the same tensors on all ranks
                values.grad = torch.zeros_like(values) if values.grad is None else values.grad
            return torch.zeros(len(self.term_names(stored)))
        terms = self.encoder.terms(lambda: self._probe(stored))
        self.encoder.load(step)
        if self.classifier is not None:
            self.classifier.load(step)
        draw = self._draw(step)
        means_real = self.real_means(step, draw)
        chosen = self.chosen_rows(step)
        total: Tensor | None = None
        for first, last in self._class_ranges():
            part_of_step = slice(int(self.rows_per_class[:first].sum()), int(self.rows_per_class[:last].sum()))
            rows = part_of_step if chosen is None else chosen[part_of_step].to(means_real.device, non_blocking=True)
            # Leaves of their own: the gradient of a slice of all rows would be as large as all of them.
            part = {name: values.detach()[rows].requires_grad_() for name, values in stored.items()}
            (*of_prefixes, means_syn), losses = self._synthetic_means(part, draw, first, last)
            of_range = means_real[first:last][self._growing_in(first, last)]
            loss = matching_loss(of_range, means_syn)
            parts = matching_terms(of_range, means_syn, terms)
            if losses is not None:
                loss, parts = loss + losses.sum(), torch.cat([parts, losses.detach()])
            if self.prefixes is not None:
                smaller = self.prefixes.loss(of_range, of_prefixes)
                loss, parts = loss + smaller, torch.cat([parts, smaller.detach().view(1)])
            self.encoder.backward(loss)
            _add_gradients(stored, part, rows)
            total = parts if total is None else total + parts
        assert total is not None  # a shard has a class at least
        return total

    def real_means(self, step: int, draw: Draw | None) -> Tensor:
        """Return the class means [k, D] of the step's real images."""
        blocks, sums = self._blocks(step), None
        for index, (indices, labels) in enumerate(blocks):
            images = self.sampler.load(indices)
            if self.sampler.reads_ahead:
                # After the last block comes the first of the next step; drawing it twice is cheap.
                following = blocks[index + 1] if index + 1 < len(blocks) else self._blocks(step + 1)[0]
                self.sampler.read_ahead(following[0])
            if draw is not None:
                images = augment(images, draw, labels)
            for part, part_labels in zip(images.split(self.chunk), labels.split(self.chunk), strict=True):
                if not self._has_growing(part_labels):
                    continue
                vectors = self.encoder.real(part)
                if sums is None:
                    sums = vectors.new_zeros(self.num_classes, vectors.shape[1])
                # Images come class after class, so a chunk has few classes, and adds to their rows alone.
                first, last = int(part_labels[0]), int(part_labels[-1]) + 1
                within = (part_labels - first).to(vectors.device, non_blocking=True)
                sums[first:last] += class_sums(vectors, within, last - first)
        assert sums is not None  # a data set without images does not get here
        return sums / self.sampler.counts.to(sums.device, sums.dtype, non_blocking=True).unsqueeze(1)

    def chosen_rows(self, step: int) -> Tensor | None:
        """Return the rows of a step among those of the shard, int64, class after class; None for all."""
        if not self.batch:
            return None
        # For every class on all ranks: the number of ranks changes no draw.
        numbers = torch.rand(int(self.shard.rows_per_class.sum()), generator=generator(self.seed, "pictures", step))
        of_class = numbers.split(self.shard.rows_per_class.tolist())
        mine = [of_class[label] for label in self.shard.classes.tolist()]
        starts = [0, *itertools.accumulate(map(len, mine))]
        return torch.cat([start + self._chosen(part) for start, part in zip(starts, mine, strict=False)])

    def _chosen(self, numbers: Tensor) -> Tensor:
        """Return the rows of a class in a step, ascending, by a random number for each row."""
        return numbers.argsort()[: self.batch].sort().values if self.prefixes is None else self.prefixes.choose(numbers)

    def _probe(self, stored: Stored) -> Tensor:
        """Return a few decoded images, to find out what terms the loss has."""
        return self.parameterization.decode({name: values.detach()[:2] for name, values in stored.items()})[:2]

    def _blocks(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """Return a step's real images in the blocks that are prepared at once: indices and labels, both int64 [b].

        Blocks without a growing class are left out.
        """
        chosen = self.sampler.draw(generator(self.seed, "real", step))
        size = self.chunk * CHUNKS_PREPARED
        blocks = zip(chosen.split(size), self.sampler.labels.split(size), strict=True)
        return [(indices, labels) for indices, labels in blocks if self._has_growing(labels)]

    def _synthetic_means(self, part: Stored, draw: Draw | None, first: int, last: int) -> tuple[Tensor, Tensor | None]:
        """Return class means [P, g, D] and losses [L] of the g growing classes of first..last-1, differentiable.

        The means are those of all images of a step, P = 1, or of the prefixes, of which the last is all images. A loss
        is averaged over the images of a class and summed over the classes, as the matching loss is.
        """
        labels = class_labels(self.images_per_class[first:last])
        images = self.parameterization.decode(part)
        if draw is not None:
            images = augment(images, draw, labels + first)
        padded = self._padded(images)
        classes = self.shard.classes[labels + first].to(images.device, non_blocking=True)
        classes = torch.cat([classes, classes[-1:].expand(len(padded) - len(images))])
        vectors, losses = self.encoder.synthetic(padded, classes)
        if self.classifier is not None:
            judged = self.classifier.losses(padded, classes).unsqueeze(1)
            losses = judged if losses is None else torch.cat([losses, judged], 1)
        within = labels.to(vectors.device, non_blocking=True)
        vectors = vectors[: len(images)]
        if self.prefixes is None:
            means = class_means(vectors, within, last - first).unsqueeze(0)
        else:
            means = self.prefixes.means(vectors.unflatten(0, (last - first, -1)), self.parameterization.images_per_row)
        growing = self._growing_in(first, last)
        if losses is None:
            return means[:, growing], None
        return means[:, growing], class_means(losses[: len(images)], within, last - first)[growing].sum(0)

    def _padded(self, images: Tensor) -> Tensor:
        """Where classes differ in size, repeat the last image up to a multiple of a chunk, or of the largest range.

        Code is compiled for one batch size, and would be compiled again for each size of range.
        """
        if not self.encoder.compiled or len(set(self.images_per_class.tolist())) == 1:
            return images
        unit = min(self.chunk, self._largest_range)
        return torch.cat([images, images[-1:].expand(-len(images) % unit, -1, -1, -1)])

    @cached_property
    def _largest_range(self) -> int:
        return max(int(self.images_per_class[first:last].sum()) for first, last in self._all_ranges())

    def _draw(self, step: int) -> Draw | None:
        if not self.operations:
            return None
        classes = len(self.shard.rows_per_class)
        return draw_per_class(classes, self.operations, generator(self.seed, "augment", step)).take(self.shard.classes)

    def _has_growing(self, labels: Tensor) -> bool:
        """Return whether a growing class is among places of classes in the shard."""
        return self.growing is None or bool(torch.isin(labels, self.growing).any())

    def _growing_in(self, first: int, last: int) -> Tensor | slice:
        """Return which of the classes first..last-1 are growing: their places among them, or all."""
        if self.growing is None:
            return slice(None)
        return torch.isin(torch.arange(first, last), self.growing).nonzero().flatten()

    def _class_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield those ranges of classes that have a growing one."""
        return (span for span in self._all_ranges() if self._has_growing(torch.arange(*span)))

    def _all_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of classes with at most `chunk` images, or of one class.

        The loss is a sum over classes, so each range can be differentiated, and its memory freed, alone. Where all
        classes have as many images, the ranges are of one size but for the last: compiled code sees two at most.
        """
        first, images = 0, 0
        for label, count in enumerate(self.images_per_class.tolist()):
            if images and images + count > self.chunk:
                yield first, label
                first, images = label, 0
            images += count
        yield first, self.num_classes


def _add_gradients(stored: Stored, part: Stored, rows: slice | Tensor) -> None:
    """Add the gradients of some rows to those of the stored tensors."""
    for name, values in stored.items():
        gradient = part[name].grad
        if gradient is None:
            continue
        if values.grad is None:
            values.grad = torch.zeros_like(values)
        values.grad[rows] += gradient

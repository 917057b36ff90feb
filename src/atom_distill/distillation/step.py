"""One step of matching: the loss, and its gradient on the stored values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from atom_distill.distillation.classifier import Classifier
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.matching_execution import CHUNKS_PREPARED
from atom_distill.distillation.step_draws import StepClasses, StepDraws
from atom_distill.ops.dsa import augment
from atom_distill.ops.matching import class_means, class_sums, matching_loss, matching_terms, unique_names
from atom_distill.ops.parameterization import Parameterization, Stored


@dataclass(frozen=True, eq=False)
class MatchingStep:
    """What one step computes, a function of (seed, step) and the stored values alone.

    Attributes:
        draws: the step's classes, rows, real images and augmentation.
        encoder: computes matching vectors.
        parameterization: decodes the stored values to images.
        chunk: images in one forward pass.
        classifier: a second network, whose loss of the synthetic images is added; None for none.
    """

    draws: StepDraws
    encoder: Encoder
    parameterization: Parameterization
    chunk: int
    classifier: Classifier | None = None

    def gradients(self, stored: Stored, step: int) -> Iterator[Tensor]:
        """Add the gradient of the step's one update to each tensor's `grad`, and yield the loss by term, shape [T]."""
        yield self(stored, step)

    def term_names(self, stored: Stored) -> tuple[str, ...]:
        """Return the names of the terms of the loss."""
        names = [*self.encoder.term_names(lambda: self._probe(stored))]
        names += [] if self.classifier is None else [self.classifier.name]
        names += [] if self.draws.prefixes is None else ["smaller sets"]
        return tuple(unique_names(names, "loss"))

    def __call__(self, stored: Stored, step: int) -> Tensor:
        """Add the loss's gradient to each tensor's `grad`, and return the loss by term.

        Args:
            stored: values by name, float32 leaves [r, ...], class after class of the shard.
            step: which step, counted from 0.

        Returns:
            The terms of the loss of the step's classes, detached, shape [T]; their sum is the loss.
        """
        classes = self.draws.classes(step)
        if classes.none_grows:
            for values in stored.values():  # so that optimizers have a state of the same tensors on all ranks
                values.grad = torch.zeros_like(values) if values.grad is None else values.grad
            self._read_ahead(self._blocks_of(step + 1))
            return torch.zeros(len(self.term_names(stored)), device=next(iter(stored.values())).device)
        terms = self.encoder.terms(lambda: self._probe(stored))
        self.encoder.load(step)
        if self.classifier is not None:
            self.classifier.load(step)
        means_real = self.real_means(step, classes)
        chosen, prefixes = self.draws.rows(step, classes), self.draws.prefixes
        total: Tensor | None = None
        for first, last in class_ranges(classes.rows * self.parameterization.images_per_row, self.chunk):
            if not classes.any_grows(torch.arange(first, last)):
                continue
            part_of_step = slice(int(classes.rows[:first].sum()), int(classes.rows[:last].sum()))
            rows = part_of_step if chosen is None else chosen[part_of_step].to(means_real.device, non_blocking=True)
            # Leaves of their own: the gradient of a slice of all rows would be as large as all of them.
            part = {name: values.detach()[rows].requires_grad_() for name, values in stored.items()}
            (*of_prefixes, means_syn), losses = self._synthetic_means(part, classes, first, last)
            of_range = means_real[first:last][classes.growing_in(first, last)]
            loss = matching_loss(of_range, means_syn)
            parts = matching_terms(of_range, means_syn, terms)
            if losses is not None:
                loss, parts = loss + losses.sum(), torch.cat([parts, losses.detach()])
            if prefixes is not None:
                smaller = prefixes.loss(of_range, of_prefixes)
                loss, parts = loss + smaller, torch.cat([parts, smaller.detach().view(1)])
            self.encoder.backward(loss)
            _add_gradients(stored, part, rows)
            total = parts if total is None else total + parts
        assert total is not None  # a class grows
        return total

    def real_means(self, step: int, classes: StepClasses) -> Tensor:
        """Return the means [n, D] of the real images of a step's classes; they are of use for growing classes only."""
        sampler, blocks, sums = self.draws.sampler, self._blocks(step, classes), None
        for index, (indices, places) in enumerate(blocks):
            images = sampler.load(indices)
            # After the last block comes the first of the next step; drawing it twice is cheap.
            self._read_ahead(blocks[index + 1 :] or self._blocks_of(step + 1))
            if classes.draw is not None:
                images = augment(images, classes.draw, places)
            for part, of_part in zip(images.split(self.chunk), places.split(self.chunk), strict=True):
                if not classes.any_grows(of_part):
                    continue
                vectors = self.encoder.real(self._padded_real(part))[: len(part)]
                if sums is None:
                    sums = vectors.new_zeros(len(classes.numbers), vectors.shape[1])
                # Images come class after class, so a chunk has few classes, and adds to their rows alone.
                first, last = int(of_part[0]), int(of_part[-1]) + 1
                within = (of_part - first).to(vectors.device, non_blocking=True)
                sums[first:last] += class_sums(vectors, within, last - first)
        assert sums is not None  # a class grows, and has images
        counts = sampler.counts[classes.in_shard]
        return sums / counts.to(sums.device, sums.dtype, non_blocking=True).unsqueeze(1)

    def _probe(self, stored: Stored) -> Tensor:
        """Return a few decoded images, to find out what terms the loss has."""
        return self.parameterization.decode({name: values.detach()[:2] for name, values in stored.items()})[:2]

    def _read_ahead(self, blocks: list[tuple[Tensor, Tensor]]) -> None:
        """Begin to read the first of the blocks that come next, where that helps."""
        if blocks:
            self.draws.sampler.read_ahead(blocks[0][0])

    def _blocks_of(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """Return the blocks of a coming step; none where nothing is read ahead."""
        return self._blocks(step, self.draws.classes(step)) if self.draws.sampler.reads_ahead else []

    def _blocks(self, step: int, classes: StepClasses) -> list[tuple[Tensor, Tensor]]:
        """Return a step's real images in the blocks that are prepared at once: indices and places of classes, [b].

        Blocks without a growing class are left out.
        """
        if classes.none_grows:
            return []
        indices, places = self.draws.real_images(step, classes)
        size = self.chunk * CHUNKS_PREPARED
        return [
            block for block in zip(indices.split(size), places.split(size), strict=True) if classes.any_grows(block[1])
        ]

    def _synthetic_means(
        self, part: Stored, classes: StepClasses, first: int, last: int
    ) -> tuple[Tensor, Tensor | None]:
        """Return class means [P, g, D] and losses [L] of the g growing classes of first..last-1, differentiable.

        The means are those of all images of a step, P = 1, or of the prefixes, of which the last is all images. A loss
        is averaged over the images of a class and summed over the classes, as the matching loss is.
        """
        images_per_row, prefixes = self.parameterization.images_per_row, self.draws.prefixes
        places = class_labels(classes.rows[first:last] * images_per_row)
        images = self.parameterization.decode(part)
        if classes.draw is not None:
            images = augment(images, classes.draw, places + first)
        padded = self._padded(images)
        numbers = classes.numbers[places + first].to(images.device, non_blocking=True)
        numbers = torch.cat([numbers, numbers[-1:].expand(len(padded) - len(images))])
        vectors, losses = self.encoder.synthetic(padded, numbers)
        if self.classifier is not None:
            judged = self.classifier.losses(padded, numbers).unsqueeze(1)
            losses = judged if losses is None else torch.cat([losses, judged], 1)
        within = places.to(vectors.device, non_blocking=True)
        vectors = vectors[: len(images)]
        if prefixes is None:
            means = class_means(vectors, within, last - first).unsqueeze(0)
        else:
            means = prefixes.means(vectors.unflatten(0, (last - first, -1)), images_per_row)
        growing = classes.growing_in(first, last)
        if losses is None:
            return means[:, growing], None
        return means[:, growing], class_means(losses[: len(images)], within, last - first)[growing].sum(0)

    def _padded(self, images: Tensor) -> Tensor:
        """Fill synthetic images up to a size that compiled code knows."""
        return _filled_up(images, self._synthetic_unit) if self.encoder.compiled else images

    def _padded_real(self, images: Tensor) -> Tensor:
        """Fill real images up to a size that compiled code knows."""
        return _filled_up(images, self._real_unit) if self.encoder.compiled else images

    @cached_property
    def _synthetic_unit(self) -> int:
        """What synthetic images are filled up to a multiple of; 1 where ranges of classes are of two sizes at most."""
        per_class = self.draws.rows_per_class * self.parameterization.images_per_row
        if self.draws.varies(per_class):
            return min(self.chunk, self.draws.usual_images(per_class))
        if len(per_class.unique()) == 1:
            return 1
        largest = max(int(per_class[first:last].sum()) for first, last in class_ranges(per_class, self.chunk))
        return min(self.chunk, largest)

    @cached_property
    def _real_unit(self) -> int:
        """What real images are filled up to a multiple of; 1 where steps are of one size."""
        per_class = self.draws.sampler.counts
        return min(self.chunk, self.draws.usual_images(per_class)) if self.draws.varies(per_class) else 1


def _filled_up(images: Tensor, unit: int) -> Tensor:
    """Repeat the last image up to a multiple of `unit`: code is compiled for a batch size, and again for each other."""
    missing = -len(images) % unit
    return torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images


def class_ranges(images_per_class: Tensor, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges (first, end) of classes with at most `most` images together, or of one class.

    The loss is a sum over classes, so each range can be differentiated, and its memory freed, alone. Where all classes
    have as many images, the ranges are of one size but for the last: compiled code sees two at most.

    Args:
        images_per_class: int64 [n], n at least 1.
        most: number of images.
    """
    first, images = 0, 0
    for place, count in enumerate(images_per_class.tolist()):
        if images and images + count > most:
            yield first, place
            first, images = place, 0
        images += count
    yield first, len(images_per_class)


def _add_gradients(stored: Stored, part: Stored, rows: slice | Tensor) -> None:
    """Add the gradients of some rows to those of the stored tensors."""
    for name, values in stored.items():
        gradient = part[name].grad
        if gradient is None:
            continue
        if values.grad is None:
            values.grad = torch.zeros_like(values)
        values.grad[rows] += gradient

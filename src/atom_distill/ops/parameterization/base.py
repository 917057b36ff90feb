"""What is stored and optimized, and how it becomes the images that networks see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError

Stored = Mapping[str, Tensor]
"""Stored values by name. Every tensor has the same number of rows R, class after class; a row is what is stored for
one image of the budget, and decodes to `images_per_row` images."""


class Parameterization(ABC):
    """How stored values become images in model space: `decode(stored)` is `images(values(stored))`.

    During optimization, stored values may be scaled so that a step of the optimizer has the same effect on all of them;
    a file holds `values(stored)`.

    Args:
        image_shape: (C, H, W) of the images that networks see.

    Attributes:
        images_per_row: decoded images per stored row.
    """

    images_per_row: int = 1

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape

    def decode(self, stored: Stored) -> Tensor:
        """Return the images in model space, float32 [R * images_per_row, C, H, W], row after row; differentiable."""
        return self.images(self.values(stored))

    def values(self, stored: Stored) -> Stored:
        """Return the stored values in the units of a file; shapes stay the same."""
        return stored

    def from_values(self, values: Stored) -> Stored:
        """Return stored values from those in the units of a file: the inverse of `values`, except for rounding."""
        return values

    @abstractmethod
    def images(self, values: Stored) -> Tensor:
        """Return the images from values in the units of a file, as `decode` does from stored values."""

    @abstractmethod
    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Return initial values, float32 [R, ...], from images in model space [R * images_per_row, C, H, W]."""

    def fitted(self, real_images: Callable[[], Tensor]) -> Self:
        """Return the same parameterization with its scales, if any, fitted to real images.

        `values` and `encode` use the scales, `images` does not: values in a file are not scaled.

        Args:
            real_images: returns images in model space [N, C, H, W]; called only if they are needed.
        """
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return the fitted tensors, for checkpoints."""
        return {}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Self:
        """Return the same parameterization with these fitted `tensors`; none if it was not fitted."""
        return self

    def largest(self, values: Tensor) -> Tensor:
        """Return the largest magnitude in each group of values that share a rounding step.

        Args:
            values: one of the named tensors, [R, ...]; a group is a channel.

        Returns:
            A shape that broadcasts against a row.
        """
        others = [dim for dim in range(1, values.ndim) if dim != 1]
        return values.abs().amax(dim=(0, *others), keepdim=True)[0]

    def row(self) -> dict[str, Tensor]:
        """Return a stored row without values: tensors [1, ...] on the meta device, which have shapes but no memory."""
        with torch.device("meta"):
            return self.encode(torch.zeros(self.images_per_row, *self.image_shape))

    def values_per_row(self) -> int:
        """Return the number of values stored per row."""
        return count_values(self.row())


def rows_of(stored: Stored) -> int:
    """Return the number of stored rows R.

    Raises:
        ShapeError: there is no tensor, or their numbers of rows differ.
    """
    counts = {name: len(tensor) for name, tensor in stored.items()}
    if len(set(counts.values())) != 1:
        raise ShapeError(f"stored tensors must have the same number of rows, got {counts}")
    return next(iter(counts.values()))


def count_values(stored: Stored) -> int:
    """Return the number of stored values."""
    return sum(tensor.numel() for tensor in stored.values())


def count_bytes(stored: Stored) -> int:
    """Return the size of the stored values in their present precision, bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in stored.values())

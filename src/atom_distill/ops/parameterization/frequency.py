"""The low frequencies of each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor

from atom_distill.base.constants import Constant
from atom_distill.base.errors import ConfigError
from atom_distill.ops.parameterization.base import Parameterization, Stored

_OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Luma and two chroma channels as weights of red, green and blue, before they are scaled to unit length."""
_LEAST_DEVIATION = 1e-3
"""Smallest deviation in units of the largest: one that real images lack may still become large in a few steps."""


class Frequency(Parameterization):
    """The low-frequency corner of the orthonormal 2-D DCT of each image's luma and chroma.

    Args:
        image_shape: see `Parameterization`; one channel (luma only) or three.
        luma: rows and columns of the corner that is kept of the luma.
        chroma: the same of both chroma channels.
        deviations: of the coefficients [n]; stored coefficients are in units of them. None: of 1.
        images_per_row: see `Parameterization`; None: as many as fit into the values of one image.

    Stored are `coefficients` [R, P, n], P images a row: luma, then one chroma and the other, each from low frequencies
    to high, so that neighbors are of similar size (which packs well).

    Raises:
        ConfigError: the images have another number of channels, or are smaller than a corner.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        luma: int,
        chroma: int,
        deviations: Tensor | None = None,
        images_per_row: int | None = None,
    ) -> None:
        super().__init__(image_shape)
        channels, height, width = image_shape
        self.corners = (luma, *[chroma] * (channels - 1))
        if channels not in (1, 3):
            raise ConfigError(f"frequencies are stored of gray or color images, and these have {channels} channels")
        if not 1 <= min(self.corners) <= max(self.corners) <= min(height, width):
            raise ConfigError(
                f"images of {height}x{width} pixels have corners of 1 to {min(height, width)} frequencies, "
                f"not {' and '.join(map(str, self.corners[:2]))}: give a `parameterization` of fewer"
            )
        count = sum(corner**2 for corner in self.corners)
        self.images_per_row = images_per_row or max(1, channels * height * width // count)
        self.deviations = torch.ones(count) if deviations is None else deviations
        order = torch.cat([_low_to_high(corner) for corner in self.corners])
        starts = torch.tensor([0, *[corner**2 for corner in self.corners[:-1]]]).cumsum(0)
        order = order + starts.repeat_interleave(torch.tensor([corner**2 for corner in self.corners]))
        self._order, self._place = Constant(order), Constant(order.argsort())
        self._bases = [
            (Constant(_cosines(height, corner)), Constant(_cosines(width, corner))) for corner in self.corners
        ]
        self._opponent, self._scales = Constant(_opponent()), Constant(self.deviations)

    def values(self, stored: Stored) -> Stored:
        """Return the coefficients of an orthonormal transform."""
        coefficients = stored["coefficients"]
        return {"coefficients": coefficients * self._scales.like(coefficients)}

    def from_values(self, values: Stored) -> Stored:
        """See `Parameterization.from_values`."""
        coefficients = values["coefficients"]
        return {"coefficients": coefficients / self._scales.like(coefficients)}

    def images(self, values: Stored) -> Tensor:
        """See `Parameterization.images`."""
        coefficients = values["coefficients"].flatten(0, 1)
        place = self._place.on(coefficients.device)
        blocks = coefficients[:, place].split([side**2 for side in self.corners], dim=1)
        planes = [
            rows.like(block).T @ block.unflatten(1, (corner, corner)) @ columns.like(block)
            for corner, block, (rows, columns) in zip(self.corners, blocks, self._bases, strict=True)
        ]
        if len(planes) == 1:
            return torch.stack(planes, dim=1)
        colors = self._opponent.like(coefficients).T @ torch.stack(planes, dim=1).flatten(2)
        images: Tensor = colors.unflatten(2, self.image_shape[1:])
        return images

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Return the coefficients of the images."""
        stored = self._coefficients(images) / self._scales.like(images)
        return {"coefficients": stored.unflatten(0, (-1, self.images_per_row))}

    def fitted(self, real_images: Callable[[], Tensor]) -> Self:
        """Return the same with the deviations of the coefficients of real images."""
        deviations = self._coefficients(real_images()).std(dim=0, correction=0)
        largest = float(deviations.max()) or 1.0  # all images may be the same
        return self.with_tensors({"deviations": deviations.clamp_min(_LEAST_DEVIATION * largest)})

    def tensors(self) -> dict[str, Tensor]:
        """See `Parameterization.tensors`."""
        return {"deviations": self.deviations}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Self:
        """See `Parameterization.with_tensors`."""
        luma, chroma, deviations = self.corners[0], self.corners[-1], tensors.get("deviations")
        return type(self)(self.image_shape, luma, chroma, deviations, self.images_per_row)

    def largest(self, values: Tensor) -> Tensor:
        """See `Parameterization.largest`; a group is a frequency."""
        return values.abs().amax(dim=(0, 1))

    def _coefficients(self, images: Tensor) -> Tensor:
        """Return the coefficients of images, [M, n]."""
        planes = images
        if len(self.corners) > 1:
            planes = (self._opponent.like(images) @ images.flatten(2)).unflatten(2, self.image_shape[1:])
        blocks = [
            (rows.like(images) @ planes[:, channel] @ columns.like(images).T).flatten(1)
            for channel, (rows, columns) in enumerate(self._bases)
        ]
        return torch.cat(blocks, dim=1)[:, self._order.on(images.device)]


def _cosines(side: int, count: int) -> Tensor:
    """Return the first vectors of the orthonormal DCT of a side, float64 [count, side]."""
    angles = math.pi / side * torch.outer(torch.arange(count).double(), torch.arange(side) + 0.5)
    cosines = angles.cos() * math.sqrt(2 / side)
    cosines[0] /= math.sqrt(2)
    return cosines


def _opponent() -> Tensor:
    """Return the luma and chroma weights of red, green and blue, float64 [3, 3], of unit length."""
    weights = torch.tensor(_OPPONENT, dtype=torch.float64)
    unit: Tensor = weights / weights.norm(dim=1, keepdim=True)
    return unit


def _low_to_high(corner: int) -> Tensor:
    """Return the order of the corner's coefficients from low frequencies to high, int64 [corner ** 2]."""
    sides = torch.arange(corner)
    return (sides[:, None] + sides).flatten().argsort(stable=True)

"""What is stored and optimized, and how it becomes the images that networks see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.errors import ConfigError, ShapeError
from atom_distill.base.plugins import find
from atom_distill.base.registry import Registry

Stored = Mapping[str, Tensor]
"""Stored values by name. Every tensor has the same number of rows R, class after class; a row is what is stored for
one image of the budget, and decodes to `images_per_row` images."""


class Parameterization(ABC):
    """How stored values become images in model space.

    Args:
        image_shape: (C, H, W) of the images that networks see.

    Attributes:
        images_per_row: decoded images of a stored row.
    """

    images_per_row: int = 1

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.image_shape = image_shape

    @abstractmethod
    def decode(self, stored: Stored) -> Tensor:
        """Return the images in model space, float32 [R * images_per_row, C, H, W], row after row; differentiable."""

    @abstractmethod
    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Return initial values, float32 [R, ...], from images in model space [R * images_per_row, C, H, W]."""

    def values_per_row(self) -> int:
        """Return the number of values stored for a row."""
        with torch.device("meta"):  # sizes without memory
            stored = self.encode(torch.zeros(self.images_per_row, *self.image_shape))
        return count_values(stored)


class Pixels(Parameterization):
    """The images themselves, as ATOM and its predecessors store them."""

    def decode(self, stored: Stored) -> Tensor:
        """See `Parameterization.decode`."""
        return stored["images"]

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """See `Parameterization.encode`."""
        return {"images": images}


class Tiles(Parameterization):
    """A grid of factor x factor smaller images in each row, row by row; bilinear interpolation enlarges them.

    Args:
        image_shape: see `Parameterization`.
        factor: tiles along each side of the grid.

    Raises:
        ConfigError: a tile would have no pixel.

    Source: the multi-formation of IDC (Kim et al., arXiv 2205.14959, section 4), of its type "single".
    """

    def __init__(self, image_shape: tuple[int, int, int], factor: int) -> None:
        super().__init__(image_shape)
        self.factor = factor
        self.images_per_row = factor**2
        if min(image_shape[1:]) < factor:
            raise ConfigError(f"images of {image_shape[1]}x{image_shape[2]} pixels have no room for {factor}x{factor}")

    def decode(self, stored: Stored) -> Tensor:
        """See `Parameterization.decode`; the sides of the grids are any multiples of the factor."""
        grids = stored["images"]
        rows, channels, height, width = grids.shape
        tile = (height // self.factor, width // self.factor)
        tiles = grids.reshape(rows, channels, self.factor, tile[0], self.factor, tile[1]).permute(0, 2, 4, 1, 3, 5)
        size = self.image_shape[1:]
        return F.interpolate(tiles.reshape(-1, channels, *tile), size, mode="bilinear", align_corners=False)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Return grids of the images shrunk by averaging areas, at most as large as one image."""
        channels, height, width = self.image_shape
        tile = (height // self.factor, width // self.factor)
        tiles = F.adaptive_avg_pool2d(images, tile).reshape(-1, self.factor, self.factor, channels, *tile)
        grids = tiles.permute(0, 3, 1, 4, 2, 5)
        return {"images": grids.reshape(-1, channels, tile[0] * self.factor, tile[1] * self.factor)}


Builder = Callable[[tuple[int, int, int]], Parameterization]
"""From the shape (C, H, W) of the images to a parameterization: its class, or a function."""
PARAMETERIZATIONS: Registry[Builder] = Registry("parameterization")
PARAMETERIZATIONS.register("pixels")(Pixels)
TILE_FACTORS = (2, 3, 4)
for _factor in TILE_FACTORS:
    PARAMETERIZATIONS.register(f"tiles-{_factor}")(partial(Tiles, factor=_factor))


def build_parameterization(name: str, image_shape: tuple[int, int, int]) -> Parameterization:
    """Return a parameterization by its registered name, or by "package.module:name".

    Raises:
        UnknownNameError: there is no such one.
    """
    return find(PARAMETERIZATIONS, name, Callable)(image_shape)  # type: ignore[arg-type]


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

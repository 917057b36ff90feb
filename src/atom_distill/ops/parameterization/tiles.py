"""Grids of smaller images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.ops.parameterization.base import Parameterization, Stored


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

    def images(self, values: Stored) -> Tensor:
        """See `Parameterization.images`; the sides of the grids are any multiples of the factor."""
        grids = values["images"]
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

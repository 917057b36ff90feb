"""Published images that hold a grid of smaller ones each, as those of IDC, DREAM and NCFM do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.ops.parameterization import TILE_FACTORS

_CLEAR = 1.5
"""Ratio of steps across the borders of tiles to those elsewhere; 1 in photographs, about 3 in grids of them."""


def padded(images: Tensor, factor: int) -> Tensor:
    """Return images whose height and width are multiples of the factor, filled up with gray at the right and bottom.

    Args:
        images: intensities, or uint8 pixels, [N, C, H, W].
        factor: tiles along each side.

    Source: the code of IDC (`decode_zoom`), which fills up with 0.5 before it divides images.
    """
    bottom, right = (-side % factor for side in images.shape[2:])
    if not bottom and not right:
        return images
    if images.dtype == torch.uint8:
        return F.pad(images, (0, right, 0, bottom), value=128)
    return F.pad(images.float(), (0, right, 0, bottom), value=0.5)


def likely_factor(images: Tensor) -> int | None:
    """Return the factor of the grid whose borders are the clearest in the images, float [N, C, H, W]; None for none."""
    steps = [images.float().diff(dim=dim).abs().mean((0, 1, 5 - dim)) for dim in (2, 3)]
    found = {factor: sum(_contrast(along, factor) for along in steps) / 2 for factor in TILE_FACTORS}
    best = max(found, key=found.__getitem__)
    return best if found[best] > _CLEAR else None


def _contrast(steps: Tensor, factor: int) -> float:
    """Return the ratio of the steps at the borders of tiles to the others, from the mean steps along one side."""
    tile = -(-(len(steps) + 1) // factor)
    border = torch.zeros(len(steps), dtype=torch.bool)
    border[tile - 1 :: tile] = True
    if not border.any() or border.all():
        return 0.0
    return float(steps[border].mean() / steps[~border].mean().clamp(min=1e-12))

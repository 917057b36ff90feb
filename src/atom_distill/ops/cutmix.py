"""CutMix: a box of each image is replaced by that of another image, and labels are mixed by area.

Source: CutMix (Yun et al., ICCV 2019), with one box and one permutation for a batch, as the IDC code trains networks
(Kim et al., ICML 2022). Oracle: tests/oracles/cutmix.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class CutMixDraw:
    """The random numbers of one batch.

    Attributes:
        partner: index of the image that each image gets the box from, int64 [B], on the CPU.
        rows: first row of the box, and the one after its last (pixels).
        columns: likewise.
    """

    partner: Tensor
    rows: tuple[int, int]
    columns: tuple[int, int]


def draw_cutmix(num_images: int, height: int, width: int, generator: torch.Generator) -> CutMixDraw:
    """Draw a permutation of the images and a box, whose area before clipping is 1 - lambda, lambda ~ Beta(1, 1).

    The center is uniform over the pixels, and the box is clipped at the border.
    """
    share = 1 - float(torch.rand((), generator=generator))  # Beta(1, 1) is uniform
    partner = torch.randperm(num_images, generator=generator)
    rows, columns = (_interval(side, int(side * math.sqrt(share)), generator) for side in (height, width))
    return CutMixDraw(partner, rows, columns)


def mix(images: Tensor, targets: Tensor, draw: CutMixDraw) -> tuple[Tensor, Tensor]:
    """Return the mixed images and their targets.

    Args:
        images: [B, C, H, W].
        targets: probabilities of the classes [B, K].
        draw: of B images of this size.
    """
    (top, bottom), (left, right) = draw.rows, draw.columns
    partner = draw.partner.to(images.device, non_blocking=True)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])
    return mixed, (1 - share) * targets + share * targets[partner]


def _interval(side: int, length: int, generator: torch.Generator) -> tuple[int, int]:
    """Draw where an interval of about `length` pixels lies, clipped to 0..side."""
    center = int(torch.randint(side, (), generator=generator))
    return max(0, center - length // 2), min(side, center + length // 2)

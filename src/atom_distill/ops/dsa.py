"""Differentiable Siamese Augmentation (DSA): random draws and their application.

A `Draw` has rows of random numbers. In distillation there is one row per class, shared by all its real and synthetic
images; in evaluation training there is one per image. `augment` takes the row of each image, so one vectorized
implementation serves both. Draws are kept on the CPU, so that the operation of an image is known without waiting for
the device.

Source: DSA (Zhao & Bilen, ICML 2021), with the operations as the DM code defines them. Oracle: tests/oracles/dsa.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")

BRIGHTNESS = 1.0
SATURATION = 2.0
CONTRAST = 0.5
CROP_PAD_RATIO = 0.125
CUTOUT_RATIO = 0.5
FLIP_PROBABILITY = 0.5
SCALE_RATIO = 1.2
ROTATE_DEGREES = 15.0

_NUMBERS_PER_ROW = 3
_MAX_RUNS = 16
"""Maximum number of runs of images with the same operation; if there are more, images are sorted by operation."""


@dataclass(frozen=True, eq=False)
class Draw:
    """The random numbers of one augmentation.

    Attributes:
        operation: index into OPERATIONS for each row, int64, shape [P], on the CPU.
        uniforms: three numbers in [0, 1) for each row, float32, shape [P, 3], on the CPU. Each operation interprets
            them in its own way, so that drawing does not depend on the operation.
    """

    operation: Tensor
    uniforms: Tensor

    def take(self, rows: Tensor) -> Draw:
        """Return the draw that consists of the given rows (int64)."""
        return Draw(self.operation[rows], self.uniforms[rows])


def draw_per_class(num_classes: int, operations: Sequence[str], generator: torch.Generator) -> Draw:
    """Draw one operation and one set of parameters for each class (siamese, for distillation)."""
    allowed = _indices(operations)
    picked = torch.randint(len(allowed), (num_classes,), generator=generator)
    return Draw(allowed[picked], torch.rand(num_classes, _NUMBERS_PER_ROW, generator=generator))


def draw_per_image(num_images: int, operations: Sequence[str], generator: torch.Generator) -> Draw:
    """Draw one operation for the batch and parameters for each image (for evaluation training)."""
    allowed = _indices(operations)
    picked = torch.randint(len(allowed), (1,), generator=generator)
    uniforms = torch.rand(num_images, _NUMBERS_PER_ROW, generator=generator)
    return Draw(allowed[picked].expand(num_images), uniforms)


def augment(images: Tensor, draw: Draw, rows: Tensor | None = None) -> Tensor:
    """Apply a draw to a batch, differentiably.

    Args:
        images: preprocessed images, float, shape [B, C, H, W].
        draw: P rows.
        rows: row of the draw for each image, int64 on the CPU, shape [B]; by default image i has row i.

    Returns:
        The augmented images, same shape, dtype and device.
    """
    if images.dtype in (torch.bfloat16, torch.float16):
        # Too coarse for sampling coordinates and for means over pixels.
        return augment(images.float(), draw, rows).to(images.dtype)
    if rows is not None:
        draw = draw.take(rows)
    runs, lengths = torch.unique_consecutive(draw.operation, return_counts=True)
    if len(runs) > 1 and images.device.type == "cuda":
        return by_all_operations(images, draw)
    if len(runs) > _MAX_RUNS:
        order = torch.argsort(draw.operation, stable=True)
        augmented = augment(images[_to(order, images)], draw.take(order))
        return augmented[_to(torch.argsort(order), images)]
    # Images of a class are adjacent, so runs are augmented as views, without copying images.
    sizes = lengths.tolist()
    parts = [
        _APPLY[index](part, _like(uniforms, images))
        for index, part, uniforms in zip(runs.tolist(), images.split(sizes), draw.uniforms.split(sizes), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def by_all_operations(images: Tensor, draw: Draw) -> Tensor:
    """Apply every operation to all images, and take of each image the one that it drew; see `augment`.

    A few kernels of fixed shapes, whatever is drawn: on a GPU, they start sooner than those of many runs, and CUDA
    graphs can hold them.
    """
    operation, uniforms = _to(draw.operation, images).view(-1, 1, 1, 1), _like(draw.uniforms, images)
    result = images
    for index, apply in enumerate(_APPLY):
        result = torch.where(operation == index, apply(images, uniforms), result)
    return result


def color(images: Tensor, uniforms: Tensor) -> Tensor:
    """Jitter brightness, then saturation, then contrast; uniforms [B, 3] in that order."""
    brightness, saturation, contrast = (column.view(-1, 1, 1, 1) for column in uniforms.unbind(1))
    images = images + (brightness - 0.5) * BRIGHTNESS
    gray = images.mean(dim=1, keepdim=True)
    images = (images - gray) * (saturation * SATURATION) + gray
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + CONTRAST) + mean


def crop(images: Tensor, uniforms: Tensor) -> Tensor:
    """Shift by up to CROP_PAD_RATIO of the side in y and x, filling with zeros; uniforms [B, >=2]."""
    height, width = images.shape[2:]
    pad_y, pad_x = int(height * CROP_PAD_RATIO + 0.5), int(width * CROP_PAD_RATIO + 0.5)
    from_y = torch.arange(height, device=images.device) + _integers(uniforms[:, 0], 2 * pad_y + 1).unsqueeze(1)
    from_x = torch.arange(width, device=images.device) + _integers(uniforms[:, 1], 2 * pad_x + 1).unsqueeze(1)
    padded = F.pad(images, (pad_x, pad_x, pad_y, pad_y))
    which = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    # Indexing on both sides of the channels puts them last.
    return padded[which, :, from_y.unsqueeze(2), from_x.unsqueeze(1)].permute(0, 3, 1, 2).contiguous()


def cutout(images: Tensor, uniforms: Tensor) -> Tensor:
    """Zero a square of CUTOUT_RATIO of the side, centered anywhere, clipped at the border; uniforms [B, >=2]."""
    height, width = images.shape[2:]
    keep_y = _outside_square(uniforms[:, 0], height)
    keep_x = _outside_square(uniforms[:, 1], width)
    keep = keep_y.unsqueeze(2) | keep_x.unsqueeze(1)
    return images * keep.unsqueeze(1).to(images.dtype)


def flip(images: Tensor, uniforms: Tensor) -> Tensor:
    """Mirror left to right with FLIP_PROBABILITY; uniforms [B, >=1]."""
    mirrored = (uniforms[:, 0] < FLIP_PROBABILITY).view(-1, 1, 1, 1)
    return torch.where(mirrored, images.flip(3), images)


def scale(images: Tensor, uniforms: Tensor) -> Tensor:
    """Stretch x and y by independent factors in [1/SCALE_RATIO, SCALE_RATIO]; uniforms [B, >=2] for x, y."""
    factors = uniforms[:, :2] * (SCALE_RATIO - 1 / SCALE_RATIO) + 1 / SCALE_RATIO
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = factors[:, 0], factors[:, 1]
    return _resample(images, theta)


def rotate(images: Tensor, uniforms: Tensor) -> Tensor:
    """Rotate by up to ROTATE_DEGREES in either direction; uniforms [B, >=1]."""
    angle = (uniforms[:, 0] - 0.5) * 2 * ROTATE_DEGREES * math.pi / 180
    height, width = images.shape[2:]
    # Grid coordinates go from -1 to 1 along each side, so their units differ if the image is not square.
    stretch = (height - 1) / (width - 1) if height != width and min(height, width) > 1 else 1.0
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle), -torch.sin(angle) * stretch
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle) / stretch, torch.cos(angle)
    return _resample(images, theta)


_APPLY = (color, crop, cutout, flip, scale, rotate)
"""In the order of OPERATIONS."""


def _resample(images: Tensor, theta: Tensor) -> Tensor:
    """Sample through an affine grid, bilinear, zero fill.

    The DM code counts from the corners of pixels instead of their centers. For maps that keep the center of a square
    image in its place, both are the same.
    """
    grid = F.affine_grid(theta, list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _outside_square(uniforms: Tensor, side: int) -> Tensor:
    """Return which of `side` rows (or columns) lie outside the square of each image, bool [B, side]."""
    square = int(side * CUTOUT_RATIO + 0.5)
    # The center of an even square lies between pixels, at one of side + 1 positions; that of an odd one on a pixel.
    first = _integers(uniforms, side + 1 - square % 2).unsqueeze(1) - square // 2
    place = torch.arange(side, device=uniforms.device)
    return (place < first) | (place >= first + square)


def _integers(uniforms: Tensor, count: int) -> Tensor:
    """Map [0, 1) onto 0..count-1, int64."""
    return (uniforms * count).floor().clamp(max=count - 1).long()


def _indices(operations: Sequence[str]) -> Tensor:
    return torch.tensor([OPERATIONS.index(name) for name in operations])


def _like(uniforms: Tensor, images: Tensor) -> Tensor:
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    return uniforms.to(images.device, dtype, non_blocking=True)


def _to(index: Tensor, images: Tensor) -> Tensor:
    return index.to(images.device, non_blocking=True)

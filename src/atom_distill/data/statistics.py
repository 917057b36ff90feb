"""Statistics of a set that may be larger than the memory: each is gathered a part at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError
from atom_distill.base.progress import Progress

_CHUNK_BYTES = 1 << 22


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Measure the channels of `images`.

    The deviation is over pixels, not the mean of per-image deviations (CIFAR-10: 0.2470, not 0.2023).

    Args:
        images: uint8, shape [N, C, H, W] with N >= 1.

    Returns:
        Mean and standard deviation, float64, shape [C], of intensities in [0, 1].

    Raises:
        ShapeError: images is of another type or shape.
    """
    _expect_pixels(images, at_least=1)
    counts = _histograms(images).double()  # 256 counts per channel say all, and whole numbers do not round
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(dim=1, keepdim=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(dim=1)
    return mean, variance.sqrt()


def mean_and_covariance(images: Tensor, *, show_progress: bool = False) -> tuple[Tensor, Tensor]:
    """Measure how the pixels of an image vary together.

    Args:
        images: uint8, shape [N, C, H, W] with N >= 2.
        show_progress: draw a bar.

    Returns:
        Mean, shape [D] with D = C*H*W, and covariance (over N - 1), shape [D, D], both float64, of intensities in
        [0, 1].

    Raises:
        ShapeError: images is of another type or shape.
    """
    _expect_pixels(images, at_least=2)
    size = images[0].numel()
    # About any fixed point the covariance is the same. One near the mean keeps the sums small, and a whole number
    # keeps the differences exact.
    center = images[: _chunk_of(images)].flatten(1).float().mean(dim=0).round()
    total = torch.zeros(size, dtype=torch.float64)
    products = torch.zeros(size, size, dtype=torch.float64)
    # Written over again and again: fresh ones for each part would leave the memory in pieces.
    differences, squares = torch.empty(min(len(images), _chunk_of(images)), size), torch.empty(size, size)
    with Progress("measure the covariance", total=len(images), unit="images", enabled=show_progress) as bar:
        for part in images.split(_chunk_of(images)):
            difference = torch.sub(part.flatten(1), center, out=differences[: len(part)])
            total += difference.sum(dim=0, dtype=torch.float64)
            products += torch.mm(difference.T, difference, out=squares)
            bar.advance(len(part))
    shift = total / len(images)
    covariance = products.addr_(shift, shift, alpha=-len(images)).div_((len(images) - 1) * 255.0**2)
    return (center + shift) / 255, covariance


def _histograms(images: Tensor) -> Tensor:
    """Count each value of each channel: int64, shape [C, 256]."""
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for part in images.split(_chunk_of(images)):
        for channel in range(channels):
            counts[channel] += torch.bincount(part[:, channel].reshape(-1), minlength=256)
    return counts


def _chunk_of(images: Tensor) -> int:
    """Say how many images are looked at together."""
    return max(1, _CHUNK_BYTES // max(1, images[0].numel()))


def _expect_pixels(images: Tensor, *, at_least: int) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8 or len(images) < at_least:
        raise ShapeError(
            f"expected uint8 images [N, C, H, W] with N >= {at_least}, got {images.dtype} {tuple(images.shape)}"
        )

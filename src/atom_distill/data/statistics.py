"""Statistics of image sets that may be larger than the memory, accumulated over chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError
from atom_distill.base.progress import Progress

_CHUNK_BYTES = 1 << 22


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each channel.

    The deviation is over all pixels, not the mean of per-image deviations (CIFAR-10: 0.2470, not 0.2023).

    Args:
        images: uint8, shape [N, C, H, W] with N >= 1.

    Returns:
        Mean and standard deviation, float64, shape [C], of intensities in [0, 1].

    Raises:
        ShapeError: images are of another type or shape.
    """
    _expect_pixels(images, at_least=1)
    counts = _histograms(images).double()  # uint8 values: 256 integer counts per channel are exact and sufficient
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(dim=1, keepdim=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(dim=1)
    return mean, variance.sqrt()


def mean_and_covariance(images: Tensor, *, show_progress: bool = False) -> tuple[Tensor, Tensor]:
    """Return the mean and covariance of the flattened images.

    Args:
        images: uint8, shape [N, C, H, W] with N >= 2.
        show_progress: draw a progress bar.

    Returns:
        Mean, shape [D] with D = C*H*W, and covariance (over N - 1), shape [D, D], both float64, of intensities in
        [0, 1].

    Raises:
        ShapeError: images are of another type or shape.
    """
    _expect_pixels(images, at_least=2)
    size = images[0].numel()
    # The covariance does not depend on the point that is subtracted first: one near the mean keeps the sums small,
    # and an integer keeps the differences exact.
    center = images[: _chunk_of(images)].flatten(1).float().mean(dim=0).round()
    total = torch.zeros(size, dtype=torch.float64)
    products = torch.zeros(size, size, dtype=torch.float64)
    # Buffers that every chunk reuses: new ones for each would fragment the memory.
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
    """Return how often each value occurs in each channel: int64, shape [C, 256]."""
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for part in images.split(_chunk_of(images)):
        for channel in range(channels):
            counts[channel] += torch.bincount(part[:, channel].reshape(-1), minlength=256)
    return counts


def _chunk_of(images: Tensor) -> int:
    """Return the number of images in a chunk."""
    return max(1, _CHUNK_BYTES // max(1, images[0].numel()))


def _expect_pixels(images: Tensor, *, at_least: int) -> None:
    if images.ndim != 4 or images.dtype != torch.uint8 or len(images) < at_least:
        raise ShapeError(
            f"expected uint8 images [N, C, H, W] with N >= {at_least}, got {images.dtype} {tuple(images.shape)}"
        )

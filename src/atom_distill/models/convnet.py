"""ConvNet, the standard network of the dataset-distillation papers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape, Pooling
from atom_distill.models.convolution import Conv2d
from atom_distill.models.layers import Activations, Block, BlockNetwork, normalization
from atom_distill.models.registry import MODELS

_SMALLEST = 2
"""Smallest height and width in pixels: one block can still pool the image."""


class ConvNet(BlockNetwork):
    """`depth` blocks of 3x3 convolution, norm, activation and 2x2 pooling, followed by a linear classifier.

    One map per block, [B, width, H / 2^l, W / 2^l]. By default ConvNet-3 at 32x32, ConvNet-4 at 64x64, and so on.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K.
        shape: depth (see `default_depth`), width (128), norm ("instance"), activation ("relu"), pooling ("avg").

    Raises:
        ConfigError: the images are too small for so many poolings.

    Source: DC (Zhao, Mopuri & Bilen, ICLR 2021) and the papers since.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> None:
        channels, height, width = image_shape
        if min(height, width) < _SMALLEST:
            raise ConfigError(f"convnet needs images of at least {_SMALLEST}x{_SMALLEST}, got {height}x{width}")
        depth = default_depth(min(height, width)) if shape.depth is None else shape.depth
        filters, norm, activation = shape.width or 128, shape.norm or "instance", shape.activation or "relu"
        pooling: Pooling = shape.pooling or "avg"
        if pooling != "none" and min(height, width) < 2**depth:
            raise ConfigError(
                f"a ConvNet of depth {depth} pools {height}x{width} images to nothing: "
                f"use a depth of at most {int(math.log2(min(height, width)))}, or pooling none"
            )
        blocks: list[Block] = []
        for _ in range(depth):
            blocks.append(
                Block(
                    Conv2d(channels, filters, kernel_size=3, padding=1),
                    normalization(norm, (filters, height, width)),
                    Activations[activation](),
                    _POOLINGS[pooling](),
                )
            )
            channels = filters
            if pooling != "none":
                height, width = height // 2, width // 2
        super().__init__(blocks, filters * height * width, num_classes)
        self.shape = NetworkShape(depth, filters, norm, activation, pooling)


MODELS.register("convnet")(ConvNet)


def default_depth(resolution: int) -> int:
    """Return the depth for a shorter side: 3 up to 32 pixels, one more for each doubling, fewer below 8 pixels."""
    return min(max(3, math.ceil(math.log2(resolution)) - 2), int(math.log2(resolution)))


class _AveragePool(nn.Module):
    """2x2 average pooling.

    torch.compile turns the derivative of `avg_pool2d` into a gather with four conditions per pixel. That of a mean over
    a reshaped view is a plain copy, which makes training a third faster.
    """

    def forward(self, maps: Tensor) -> Tensor:
        if not (torch.compiler.is_compiling() and torch.is_grad_enabled()):
            return F.avg_pool2d(maps, 2)
        count, channels, height, width = maps.shape
        even = maps[:, :, : height // 2 * 2, : width // 2 * 2]
        return even.reshape(count, channels, height // 2, 2, width // 2, 2).mean((3, 5))


_POOLINGS: dict[Pooling, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "max": lambda: nn.MaxPool2d(2),
    "avg": _AveragePool,
}

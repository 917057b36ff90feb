"""AlexNet in the small form that the dataset-distillation papers evaluate on."""

from __future__ import annotations

from torch import nn

from atom_distill.models.layers import Activations, Block, BlockNetwork, normalisation, require_size
from atom_distill.models.registry import MODELS, NetworkShape

_LAYERS = ((128, 5, True), (192, 5, True), (256, 3, False), (192, 3, False), (192, 3, True))
"""Filters, kernel and whether 2x2 max-pooling follows."""


@MODELS.register("alexnet")
def alexnet(image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> BlockNetwork:
    """Build five convolutions with three 2x2 max-poolings, and a linear classifier.

    Five maps; the embedding has 192 * H/8 * W/8 values. Grey images are first padded by 2 pixels more on each side,
    which makes 32x32 of the 28x28 of MNIST.

    Args:
        image_shape: (C, H, W); at least 8x8, or 4x4 where C is 1.
        num_classes: K.
        shape: norm (default: "none", as in the DC code, which evaluates it so), activation ("relu").

    Raises:
        ConfigError: the images are too small, or another setting is given.

    Source: `AlexNet` of the DC code (Zhao, Mopuri & Bilen, ICLR 2021).
    """
    shape.allow("alexnet", "norm", "activation")
    channels, height, width = image_shape
    margin = 2 if channels == 1 else 0
    require_size("alexnet", image_shape, 8 - 2 * margin)
    height, width = height + 2 * margin, width + 2 * margin
    blocks: list[Block] = []
    for filters, kernel, pooled in _LAYERS:
        padding = kernel // 2 + (0 if blocks else margin)
        blocks.append(
            Block(
                nn.Conv2d(channels, filters, kernel, padding=padding),
                normalisation(shape.norm or "none", (filters, height, width)),
                Activations[shape.activation or "relu"](),
                nn.MaxPool2d(2) if pooled else nn.Identity(),
            )
        )
        channels = filters
        if pooled:
            height, width = height // 2, width // 2
    return BlockNetwork(blocks, channels * height * width, num_classes)

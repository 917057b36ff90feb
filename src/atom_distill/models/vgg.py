"""VGG-11 in the small form that the dataset-distillation papers evaluate on."""

from __future__ import annotations

from torch import nn

from atom_distill.models.layers import Activations, Block, BlockNetwork, normalisation, require_size
from atom_distill.models.registry import MODELS, NetworkShape

_LAYERS = ((1, True), (2, True), (4, False), (4, True), (8, False), (8, True), (8, False), (8, True))
"""Filters, as a multiple of the first convolution's, and whether 2x2 max-pooling follows."""


@MODELS.register("vgg11")
def vgg11(image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> BlockNetwork:
    """Build eight 3x3 convolutions with five 2x2 max-poolings, and one linear classifier.

    Eight maps; the embedding has 512 * H/32 * W/32 values. Grey images are first padded by 2 pixels more on each
    side, which makes 32x32 of the 28x28 of MNIST.

    Args:
        image_shape: (C, H, W); at least 32x32, or 28x28 where C is 1.
        num_classes: K.
        shape: width (filters of the first convolution, default 64; the last have eight times as many), norm
            ("instance", as in the DC code's `VGG11`; "batch" is its `VGG11BN`), activation ("relu").

    Raises:
        ConfigError: the images are too small, or another setting is given.

    Source: `VGG11` of the DC code (Zhao, Mopuri & Bilen, ICLR 2021), after configuration A of Simonyan & Zisserman,
    ICLR 2015.
    """
    shape.allow("vgg11", "width", "norm", "activation")
    channels, height, width = image_shape
    margin = 2 if channels == 1 else 0
    require_size("vgg11", image_shape, 32 - 2 * margin)
    height, width = height + 2 * margin, width + 2 * margin
    blocks: list[Block] = []
    for multiple, pooled in _LAYERS:
        filters = multiple * (shape.width or 64)
        blocks.append(
            Block(
                nn.Conv2d(channels, filters, kernel_size=3, padding=1 if blocks else 1 + margin),
                normalisation(shape.norm or "instance", (filters, height, width)),
                Activations[shape.activation or "relu"](),
                nn.MaxPool2d(2) if pooled else nn.Identity(),
            )
        )
        channels = filters
        if pooled:
            height, width = height // 2, width // 2
    return BlockNetwork(blocks, channels * height * width, num_classes)

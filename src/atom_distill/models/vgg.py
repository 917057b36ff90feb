"""VGG-11 for small images, as evaluated in the dataset-distillation papers."""

from __future__ import annotations

from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.layers import BlockNetwork, Convolution, max_pooled_network
from atom_distill.models.registry import MODELS

_LAYERS = ((1, True), (2, True), (4, False), (4, True), (8, False), (8, True), (8, False), (8, True))
"""Filters as a multiple of those of the first convolution, and whether 2x2 max-pooling follows."""


@MODELS.register("vgg11")
def vgg11(image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> BlockNetwork:
    """Return a network of eight 3x3 convolutions with five 2x2 max-poolings, and one linear classifier.

    Eight maps; the embedding has 512 * H/32 * W/32 values at the default width. Gray images are first padded by 2 more
    pixels on each side, so that 28x28 (MNIST) becomes 32x32.

    Args:
        image_shape: (C, H, W); at least 32x32, or 28x28 if C is 1.
        num_classes: K.
        shape: width (filters of the first convolution, default 64; the last have eight times as many), norm
            ("instance", as in the DC code's `VGG11`; "batch" is its `VGG11BN`), activation ("relu").

    Raises:
        ConfigError: the images are too small, or another setting is given.

    Source: `VGG11` of the DC code (Zhao, Mopuri & Bilen, ICLR 2021), after configuration A of Simonyan & Zisserman,
    ICLR 2015.
    """
    shape.allow("vgg11", "width", "norm", "activation")
    width, norm, activation = shape.width or 64, shape.norm or "instance", shape.activation or "relu"
    layers = [Convolution(multiple * width, 3, pooled) for multiple, pooled in _LAYERS]
    network = max_pooled_network("vgg11", image_shape, num_classes, layers, norm, activation)
    network.shape = NetworkShape(width=width, norm=norm, activation=activation)
    return network

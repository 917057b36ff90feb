"""AlexNet for small images, as evaluated in the dataset-distillation papers."""

from __future__ import annotations

from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.layers import BlockNetwork, Convolution, max_pooled_network
from atom_distill.models.registry import MODELS

_LAYERS = (
    Convolution(128, kernel=5, pooled=True),
    Convolution(192, kernel=5, pooled=True),
    Convolution(256, kernel=3, pooled=False),
    Convolution(192, kernel=3, pooled=False),
    Convolution(192, kernel=3, pooled=True),
)


@MODELS.register("alexnet")
def alexnet(image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> BlockNetwork:
    """Return a network of five convolutions with three 2x2 max-poolings, and a linear classifier.

    Five maps; the embedding has 192 * H/8 * W/8 values. Gray images are first padded by 2 more pixels on each side,
    so that 28x28 (MNIST) becomes 32x32.

    Args:
        image_shape: (C, H, W); at least 8x8, or 4x4 if C is 1.
        num_classes: K.
        shape: norm (default "none", as evaluated by the DC code), activation ("relu").

    Raises:
        ConfigError: the images are too small, or another setting is given.

    Source: `AlexNet` of the DC code (Zhao, Mopuri & Bilen, ICLR 2021).
    """
    shape.allow("alexnet", "norm", "activation")
    norm, activation = shape.norm or "none", shape.activation or "relu"
    network = max_pooled_network("alexnet", image_shape, num_classes, _LAYERS, norm, activation)
    network.shape = NetworkShape(norm=norm, activation=activation)
    return network

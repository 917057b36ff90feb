"""Building blocks of the convolutional networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

from torch import Tensor, nn

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import Activation, Norm
from atom_distill.models.convolution import Conv2d
from atom_distill.models.network import Network
from atom_distill.ops.features import Features

_GROUPS = 4
"""Number of groups of `norm="group"`, as in the DC code."""

Activations: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "sigmoid": nn.Sigmoid,
}


def normalization(kind: Norm, shape: tuple[int, int, int]) -> nn.Module:
    """Return a normalization layer for maps of shape (C, H, W).

    Raises:
        ConfigError: the channels cannot be divided into the groups of group norm.
    """
    channels = shape[0]
    match kind:
        case "none":
            return nn.Identity()
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.LayerNorm(shape)
        case "instance":
            # The papers' InstanceNorm: affine, without running statistics.
            return nn.GroupNorm(channels, channels)
        case "group":
            if channels % _GROUPS:
                raise ConfigError(f"norm group needs a width that is a multiple of {_GROUPS}, got {channels}")
            return nn.GroupNorm(_GROUPS, channels)


def require_size(architecture: str, image_shape: tuple[int, int, int], smallest: int) -> None:
    """Check that images are large enough for an architecture.

    Raises:
        ConfigError: a side is shorter than `smallest` pixels.
    """
    _, height, width = image_shape
    if min(height, width) < smallest:
        raise ConfigError(
            f"{architecture} needs images of at least {smallest}x{smallest}, got {height}x{width}: "
            "use convnet, or load the data with a larger image size"
        )


class Block(nn.Module):
    """Convolution, norm and activation; pooling is separate, so that maps can be taken before it."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Module, activation: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.activation, self.pool = conv, norm, activation, pool

    def forward(self, images: Tensor) -> Tensor:
        """Return the map before pooling."""
        out: Tensor = self.activation(self.norm(self.conv(images)))
        return out


class BlockNetwork(Network):
    """A sequence of blocks, followed by a linear classifier.

    Args:
        blocks: in order.
        embedding: size of an image's embedding, i.e. of the last pooled map.
        num_classes: K.
    """

    def __init__(self, blocks: Sequence[Block], embedding: int, num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(embedding, num_classes)

    def features(self, images: Tensor) -> Features:
        """See `Network.features`; one map per block."""
        maps = []
        for block in cast(Iterable[Block], self.blocks):
            maps.append(block(images))
            images = block.pool(maps[-1])
        embedding = images.flatten(1)
        return Features.of_maps(maps, embedding, lambda: self.classifier(embedding))


class Convolution(NamedTuple):
    """One block of `max_pooled_network`: filters, kernel size, and whether 2x2 max-pooling follows."""

    filters: int
    kernel: int
    pooled: bool


def max_pooled_network(
    architecture: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    layers: Sequence[Convolution],
    norm: Norm,
    activation: Activation,
) -> BlockNetwork:
    """Return a network of convolutions, some followed by 2x2 max-pooling, and a linear classifier.

    Gray images are first padded by 2 more pixels on each side, as in the DC code: 28x28 (MNIST) becomes 32x32.

    Raises:
        ConfigError: the images are too small for the poolings.
    """
    channels, height, width = image_shape
    margin = 2 if channels == 1 else 0
    require_size(architecture, image_shape, 2 ** sum(layer.pooled for layer in layers) - 2 * margin)
    height, width = height + 2 * margin, width + 2 * margin
    blocks: list[Block] = []
    for filters, kernel, pooled in layers:
        padding = kernel // 2 + (0 if blocks else margin)
        blocks.append(
            Block(
                Conv2d(channels, filters, kernel, padding=padding),
                normalization(norm, (filters, height, width)),
                Activations[activation](),
                nn.MaxPool2d(2) if pooled else nn.Identity(),
            )
        )
        channels = filters
        if pooled:
            height, width = height // 2, width // 2
    return BlockNetwork(blocks, channels * height * width, num_classes)

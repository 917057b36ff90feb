"""Networks by name, and what every one of them must offer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Protocol, get_args

from torch import Tensor, nn

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import Registry
from atom_distill.ops.features import Features

Norm = Literal["none", "batch", "layer", "instance", "group"]
Activation = Literal["relu", "leaky_relu", "sigmoid"]
Pooling = Literal["none", "max", "avg"]

NORMS: tuple[Norm, ...] = get_args(Norm)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


class Network(nn.Module):
    """A classifier that also shows its features.

    Subclasses implement `features` and hold their last linear layer as `classifier`.
    """

    classifier: nn.Module

    def features(self, images: Tensor) -> Features:
        """Give the per-layer maps and the embedding of images [B, C, H, W]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits [B, K] of images [B, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images).embedding)
        return logits


@dataclass(frozen=True)
class NetworkShape:
    """What varies from one network of an architecture to another; None leaves it to the architecture.

    Attributes:
        depth: blocks.
        width: channels.
        norm: normalization after each convolution.
        activation: after the norm.
        pooling: after the activation, 2x2.
    """

    depth: int | None = None
    width: int | None = None
    norm: Norm | None = None
    activation: Activation | None = None
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        for name, value in (("depth", self.depth), ("width", self.width)):
            if value is not None and value < 1:
                raise ConfigError(f"the {name} of a network must be at least 1, got {value}")

    def allow(self, architecture: str, *settings: str) -> None:
        """Refuse what an architecture cannot follow, which would otherwise be ignored.

        Args:
            architecture: whose settings they are.
            settings: names of the fields that it has.

        Raises:
            ConfigError: another field is given.
        """
        names = [field.name for field in fields(self)]
        stray = [name for name in names if name not in settings and getattr(self, name) is not None]
        if stray:
            has = f"its settings are {' and '.join(settings)}" if settings else "it has no such settings"
            raise ConfigError(f"{architecture} cannot be given another {' or '.join(stray)}, leave it out: {has}")


class Builder(Protocol):
    """How an architecture is made for images of a shape and a number of classes."""

    def __call__(self, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> Network:
        """Build it for images (C, H, W)."""


MODELS: Registry[Builder] = Registry("architecture")


def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    shape: NetworkShape | None = None,
) -> Network:
    """Build a network by name.

    Args:
        name: an architecture, e.g. "convnet", or "timm:" and the name of a timm model.
        image_shape: (C, H, W).
        num_classes: K.
        shape: departures from the architecture's defaults.

    Raises:
        UnknownNameError: no such architecture.
        ConfigError: the image is too small for it, or it does not have a setting of `shape`.
        MissingExtraError: a timm model without timm.
    """
    from atom_distill.models import alexnet, convnet, resnet, vgg, vit  # noqa: F401 (register themselves)
    from atom_distill.models.timm_network import PREFIX, timm_network

    if name.startswith(PREFIX):
        return timm_network(name, image_shape, num_classes, shape or NetworkShape())
    return MODELS.get(name)(image_shape, num_classes, shape or NetworkShape())

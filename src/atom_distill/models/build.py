"""Networks by name."""

from __future__ import annotations

from functools import partial

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.models import alexnet, convnet, resnet, vgg, vit  # noqa: F401 (they register themselves)
from atom_distill.models.network import Network
from atom_distill.models.registry import MODELS
from atom_distill.models.timm_network import PREFIX, timm_network


def build_model(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    shape: NetworkShape | None = None,
) -> Network:
    """Return a new network.

    Args:
        name: an architecture, e.g. "convnet", or "timm:" followed by the name of a timm model.
        image_shape: (C, H, W).
        num_classes: K.
        shape: settings that differ from the architecture's defaults.

    Raises:
        UnknownNameError: there is no such architecture.
        ConfigError: the shape is not of images, they are too small, there is no class, or the architecture does not
            have a setting of `shape`.
        MissingExtraError: timm is needed and not installed.
    """
    if len(image_shape) != 3 or num_classes < 1:
        raise ConfigError(
            f"a network needs the shape of an image, (C, H, W), and 1 class or more: got {tuple(image_shape)} and "
            f"{num_classes}"
        )
    builder = partial(timm_network, name) if name.startswith(PREFIX) else MODELS.get(name)
    network = builder(image_shape, num_classes, shape or NetworkShape())
    network.num_classes = num_classes
    return network

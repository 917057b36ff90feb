"""Build a network by name."""

from __future__ import annotations

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
    if name.startswith(PREFIX):
        return timm_network(name, image_shape, num_classes, shape or NetworkShape())
    return MODELS.get(name)(image_shape, num_classes, shape or NetworkShape())

"""Architectures by name."""

from __future__ import annotations

from typing import Protocol

from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.registry import Registry
from atom_distill.models.network import Network


class Builder(Protocol):
    """Builds an architecture for images of a shape and a number of classes."""

    def __call__(self, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> Network:
        """Return a network for images (C, H, W), with the architecture's defaults where `shape` is None."""


MODELS: Registry[Builder] = Registry("architecture")

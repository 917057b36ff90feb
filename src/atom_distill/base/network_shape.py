"""The shape of a network within its architecture: depth, width, norm, activation, pooling."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from atom_distill.base.errors import ConfigError

Norm = Literal["none", "batch", "layer", "instance", "group"]
Activation = Literal["relu", "leaky_relu", "sigmoid"]
Pooling = Literal["none", "max", "avg"]

NORMS: tuple[Norm, ...] = get_args(Norm)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


@dataclass(frozen=True)
class NetworkShape:
    """The shape of a network within its architecture; None means the architecture's default.

    Attributes:
        depth: number of blocks.
        width: number of channels.
        norm: normalization after each convolution.
        activation: nonlinearity after the normalization.
        pooling: 2x2 pooling after the activation.
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
        """Refuse settings that an architecture does not have, which would otherwise be ignored.

        Args:
            architecture: its name, for the message.
            settings: names of the fields that it has.

        Raises:
            ConfigError: another field is set.
        """
        names = [field.name for field in fields(self)]
        unsupported = [name for name in names if name not in settings and getattr(self, name) is not None]
        if unsupported:
            supported = " and ".join(settings) or "none of these settings"
            raise ConfigError(
                f"{architecture} does not support {' or '.join(unsupported)}, leave it out: it supports {supported}"
            )

"""What varies from one network of an architecture to another: depth, width, norm, activation, pooling."""

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

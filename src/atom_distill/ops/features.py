"""What a network shows of a batch of images: named layers, an embedding, logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Kind = Literal["map", "tokens", "attention"]


@dataclass(frozen=True, eq=False)
class Layer:
    """The output of one layer.

    Attributes:
        name: unique in its network.
        kind: "map", values [B, C, H, W], of a block or stage right after its activation and before its pooling;
            "tokens", values [B, T, D], of a transformer's block; or "attention", values [B, heads, T, T], the weights
            by which tokens (rows) attend to tokens (columns).
        values: of that shape.
    """

    name: str
    kind: Kind
    values: Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """Intermediate outputs of one forward pass.

    Attributes:
        layers: from the images on.
        embedding: what feeds the classifier, [B, D].
        compute_logits: returns the logits [B, K]; called only where they are used.
    """

    layers: Sequence[Layer]
    embedding: Tensor
    compute_logits: Callable[[], Tensor]

    @classmethod
    def of_maps(cls, maps: Sequence[Tensor], embedding: Tensor, compute_logits: Callable[[], Tensor]) -> Features:
        """Return the features of a network all of whose layers are maps [B, C_l, H_l, W_l], numbered from 1."""
        layers = [Layer(f"map {number}", "map", values) for number, values in enumerate(maps, start=1)]
        return cls(layers, embedding, compute_logits)

    def of_kind(self, kind: Kind) -> list[Tensor]:
        """Return the values of all layers of a kind, in order."""
        return [layer.values for layer in self.layers if layer.kind == kind]

    @property
    def maps(self) -> list[Tensor]:
        """The maps, each [B, C_l, H_l, W_l]."""
        return self.of_kind("map")

    @property
    def logits(self) -> Tensor:
        """The logits [B, K]."""
        return self.compute_logits()

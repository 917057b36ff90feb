"""The features of a batch of images in a network: named layers, an embedding, logits."""

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
        kind: "map", [B, C, H, W], the feature maps of a block or stage after its activation and before its pooling;
            "tokens", [B, T, D], the output of a transformer block, one token per position of the image; or
            "attention", [B, heads, Q, T], the weights with which queries attend to these positions: the class token
            (Q = 1) if there is one, else all tokens (Q = T).
        content: values of that shape, or a function that computes them, called only if they are used.
    """

    name: str
    kind: Kind
    content: Tensor | Callable[[], Tensor]

    @property
    def values(self) -> Tensor:
        """The values, of the shape of the kind."""
        return self.content if isinstance(self.content, Tensor) else self.content()


@dataclass(frozen=True, eq=False)
class Features:
    """Intermediate outputs of one forward pass.

    Attributes:
        layers: in order, from the images up.
        embedding: input of the classifier, [B, D].
        compute_logits: returns the logits [B, K]; called only if they are used.
    """

    layers: Sequence[Layer]
    embedding: Tensor
    compute_logits: Callable[[], Tensor]

    @classmethod
    def of_maps(cls, maps: Sequence[Tensor], embedding: Tensor, compute_logits: Callable[[], Tensor]) -> Features:
        """Return the features of a network whose layers are all maps [B, C_l, H_l, W_l], numbered from 1."""
        layers = [Layer(f"map {number}", "map", values) for number, values in enumerate(maps, start=1)]
        return cls(layers, embedding, compute_logits)

    @classmethod
    def of_transformer(
        cls,
        maps: Sequence[Tensor],
        attention: Sequence[Tensor | Callable[[], Tensor]],
        embedding: Tensor,
        compute_logits: Callable[[], Tensor],
    ) -> Features:
        """Return the features of a transformer: for each block its tokens, the same as a map, and its attention.

        Args:
            maps: the tokens of each block arranged by position, [B, D, H, W].
            attention: for each block [B, heads, Q, H * W], see `Layer`; or functions that compute it.
            embedding: [B, D].
            compute_logits: see `Features`.
        """
        layers = []
        for number, (values, weights) in enumerate(zip(maps, attention, strict=True), start=1):
            layers.append(Layer(f"map {number}", "map", values))
            layers.append(Layer(f"tokens {number}", "tokens", values.flatten(2).mT))
            layers.append(Layer(f"attention {number}", "attention", weights))
        return cls(layers, embedding, compute_logits)

    def layers_of(self, kind: Kind) -> list[Layer]:
        """Return all layers of a kind, in order."""
        return [layer for layer in self.layers if layer.kind == kind]

    def of_kind(self, kind: Kind) -> list[Tensor]:
        """Return the values of all layers of a kind, in order."""
        return [layer.values for layer in self.layers_of(kind)]

    @property
    def maps(self) -> list[Tensor]:
        """The maps, each [B, C_l, H_l, W_l]; in a transformer, its tokens arranged by position."""
        return self.of_kind("map")

    @property
    def places(self) -> list[Layer]:
        """The layers that show where the network looks: a transformer's attention, or else the maps."""
        return self.layers_of("attention") or self.layers_of("map")

    @property
    def channels(self) -> list[Layer]:
        """The layers that show which channels respond: a transformer's tokens, or else the maps."""
        return self.layers_of("tokens") or self.layers_of("map")

    @property
    def logits(self) -> Tensor:
        """The logits [B, K]."""
        return self.compute_logits()

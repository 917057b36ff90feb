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
            "tokens", values [B, T, D], of a transformer's block, one token for each place of the image; or "attention",
            values [B, heads, Q, T], the weights by which its queries attend to these places: Q = 1, the class token,
            where there is one, or else Q = T, all tokens.
        content: values of that shape, or a function that computes them, called only where they are used.
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

    @classmethod
    def of_transformer(
        cls,
        maps: Sequence[Tensor],
        attention: Sequence[Tensor | Callable[[], Tensor]],
        embedding: Tensor,
        compute_logits: Callable[[], Tensor],
    ) -> Features:
        """Return the features of a transformer: of each block its tokens, these as a map, and its attention.

        Args:
            maps: the tokens of each block where their places are, [B, D, H, W].
            attention: of each block, [B, heads, Q, H * W], see `Layer`; or functions that compute it.
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
        """The maps, each [B, C_l, H_l, W_l]; of a transformer its tokens where their places are."""
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

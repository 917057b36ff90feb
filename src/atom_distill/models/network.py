"""The interface of every network: features and logits."""

from __future__ import annotations

from torch import Tensor, nn

from atom_distill.base.network_shape import NetworkShape
from atom_distill.ops.features import Features


class Network(nn.Module):
    """A classifier that also returns its features.

    Subclasses implement `features`.

    Attributes:
        num_classes: K, which `build_model` sets.
        is_transformer: whether tokens attend to each other; such networks are trained by another protocol.
        shape: the final shape, with the architecture's defaults filled in; None for what it does not have.
    """

    num_classes: int
    is_transformer: bool = False
    shape: NetworkShape = NetworkShape()

    def features(self, images: Tensor) -> Features:
        """Return the layers, the embedding and the logits of images [B, C, H, W]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, K] of images [B, C, H, W]."""
        return self.features(images).logits

"""What every network offers: features and logits."""

from __future__ import annotations

from torch import Tensor, nn

from atom_distill.ops.features import Features


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
        return self.features(images).logits

"""What a network shows of an image to those who match it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """Intermediate outputs of one forward.

    Attributes:
        maps: one per block or stage, right after its activation and before its pooling, each [B, C_l, H_l, W_l].
        embedding: the last block's pooled output as a vector, [B, D]: what feeds the classifier.
    """

    maps: list[Tensor]
    embedding: Tensor

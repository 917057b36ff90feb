"""A vision transformer for small images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.network import Network
from atom_distill.models.registry import MODELS
from atom_distill.ops.features import Features

_GRID = 8
"""Number of patches along each side of an image."""
_HEAD = 64
"""Channels of one attention head."""
_POSITION_STD = 0.02


class _PositionEmbedding(nn.Module):
    """Adds a learned vector to each token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, width))
        self.reset(None)

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None) -> None:
        """Draw the vectors anew on the CPU; see `initialization.SelfInitialized`."""
        self.weight.copy_(torch.empty(self.weight.shape).normal_(std=_POSITION_STD, generator=generator))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.weight


class VisionTransformer(Network):
    """8x8 patches, pre-norm transformer blocks, mean over tokens, linear classifier.

    There are 64 tokens at every resolution: patches have 4x4 pixels at 32x32 and 8x8 at 64x64. There is no class token:
    each block shows its tokens, also as a map [B, width, 8, 8], and the attention of all tokens to all, [B, heads, 64,
    64]; the embedding is the mean of the normalized tokens, [B, width].

    Args:
        image_shape: (C, H, W), H and W multiples of 8.
        num_classes: K.
        shape: depth (6), width (192; a multiple of 64, the channels per head).

    Raises:
        ConfigError: the images cannot be cut into 8x8 patches, the width is not a multiple of 64, or another setting is
            given.

    Source: Dosovitskiy et al., ICLR 2021, with the width, heads and MLP of DeiT-Tiny (Touvron et al., ICML 2021) and
    half its depth.
    """

    is_transformer = True

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, shape: NetworkShape) -> None:
        super().__init__()
        shape.allow("vit", "depth", "width")
        channels, height, width = image_shape
        if height % _GRID or width % _GRID:
            raise ConfigError(
                f"vit needs images whose height and width are multiples of {_GRID}, got {height}x{width}: "
                "use convnet, or load the data with another image size"
            )
        depth, size = shape.depth or 6, shape.width or 3 * _HEAD
        if size % _HEAD:
            raise ConfigError(f"vit needs a width that is a multiple of {_HEAD}, got {size}")
        self.shape = NetworkShape(depth=depth, width=size)
        patch = (height // _GRID, width // _GRID)
        self.patches = nn.Conv2d(channels, size, patch, stride=patch)
        self.positions = _PositionEmbedding(_GRID * _GRID, size)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                size, size // _HEAD, 4 * size, dropout=0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(size)
        self.classifier = nn.Linear(size, num_classes)

    def features(self, images: Tensor) -> Features:
        """See `Network.features`; attention weights are computed where they are used, beside the fused blocks."""
        tokens = self.positions(self.patches(images).flatten(2).mT)
        maps, attention = [], []
        for block in cast(Iterable[nn.TransformerEncoderLayer], self.blocks):
            attention.append(partial(_attention_weights, block, tokens))
            tokens = block(tokens)
            maps.append(tokens.mT.unflatten(2, (_GRID, _GRID)))
        embedding = self.norm(tokens).mean(1)
        return Features.of_transformer(maps, attention, embedding, lambda: self.classifier(embedding))


def _attention_weights(block: nn.TransformerEncoderLayer, tokens: Tensor) -> Tensor:
    """Return by which weights each token (rows) of a block's input attends to each (columns), [B, heads, T, T]."""
    attention = block.self_attn
    size, heads = attention.embed_dim, attention.num_heads
    weight, bias = attention.in_proj_weight[: 2 * size], attention.in_proj_bias[: 2 * size]
    query, key = F.linear(block.norm1(tokens), weight, bias).unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    scores: Tensor = query @ key.mT / math.sqrt(size // heads)
    return scores.softmax(-1)


MODELS.register("vit")(VisionTransformer)

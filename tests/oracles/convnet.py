"""The ConvNet's forward pass on one image, by the definitions of its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Block:
    """Weights of a block: convolution [O, I, 3, 3] and bias [O], then the norm's scale [O] and shift [O]."""

    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    shift: np.ndarray


def features(image: np.ndarray, blocks: Sequence[Block]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return for an image [C, H, W] the maps after each ReLU, before pooling, and the flattened last pooled map."""
    maps = []
    for block in blocks:
        normed = instance_norm(convolve(image, block.weight, block.bias), block.scale, block.shift)
        maps.append(np.maximum(normed, 0.0))
        image = average_pool(maps[-1])
    return maps, image.reshape(-1)


def logits(embedding: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The linear classifier."""
    return np.array([bias[k] + math.fsum(weight[k] * embedding) for k in range(len(bias))])


def convolve(image: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3 cross-correlation, stride 1, one pixel of zero padding."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = image
    out = np.empty((len(weight), height, width))
    for o in range(len(weight)):
        for y in range(height):
            for x in range(width):
                out[o, y, x] = bias[o] + np.sum(weight[o] * padded[:, y : y + 3, x : x + 3])
    return out


def instance_norm(maps: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Normalize each channel to mean 0 and variance 1 (biased, eps 1e-5), then scale and shift."""
    out = np.empty(maps.shape)
    for c in range(len(maps)):
        mean = maps[c].mean()
        variance = ((maps[c] - mean) ** 2).mean()
        out[c] = (maps[c] - mean) / math.sqrt(variance + 1e-5) * scale[c] + shift[c]
    return out


def average_pool(maps: np.ndarray) -> np.ndarray:
    """2x2 averages."""
    channels, height, width = maps.shape
    out = np.empty((channels, height // 2, width // 2))
    for y in range(height // 2):
        for x in range(width // 2):
            out[:, y, x] = maps[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(1, 2))
    return out

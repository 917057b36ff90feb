"""Spatial and channel attention of one image, entry by entry."""

from __future__ import annotations

import math

import numpy as np


def spatial_attention(features: np.ndarray, power: float) -> np.ndarray:
    """Return the sum over channels of |f|^power at each position, divided by its L2 norm: [C, H, W] to [H * W]."""
    channels, height, width = features.shape
    energy = np.zeros(height * width)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                energy[y * width + x] += abs(float(features[c, y, x])) ** power
    return unit(energy)


def channel_attention(features: np.ndarray, power: float) -> np.ndarray:
    """Return the sum over positions of |f|^power in each channel, divided by its L2 norm: [C, H, W] to [C]."""
    channels, height, width = features.shape
    energy = np.zeros(channels)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                energy[c] += abs(float(features[c, y, x])) ** power
    return unit(energy)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return the vector divided by its L2 norm; zeros stay zeros."""
    norm = math.sqrt(math.fsum(float(v) ** 2 for v in vector))
    return vector / norm if norm > 0 else vector

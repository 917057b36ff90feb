"""Spatial and channel attention of one image, entry by entry."""

from __future__ import annotations

import math

import numpy as np


def spatial_attention(features: np.ndarray, power: float) -> np.ndarray:
    """features [C, H, W] give [H * W]: sum over channels of |f|^power at each place, over its L2 norm."""
    channels, height, width = features.shape
    energy = np.zeros(height * width)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                energy[y * width + x] += abs(float(features[c, y, x])) ** power
    return unit(energy)


def channel_attention(features: np.ndarray, power: float) -> np.ndarray:
    """features [C, H, W] give [C]: sum over places of |f|^power in each channel, over its L2 norm."""
    channels, height, width = features.shape
    energy = np.zeros(channels)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                energy[c] += abs(float(features[c, y, x])) ** power
    return unit(energy)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector over its L2 norm; zeros stay zeros."""
    norm = math.sqrt(math.fsum(float(v) ** 2 for v in vector))
    return vector / norm if norm > 0 else vector

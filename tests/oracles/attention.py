"""Spatial and channel attention of one image, and its counterparts in a transformer, entry by entry."""

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


def attention_to_places(weights: np.ndarray, power: float) -> np.ndarray:
    """Return the sum over heads of (mean over queries)^power at each place, by its L2 norm: [heads, Q, T] to [T]."""
    heads, queries, places = weights.shape
    energy = np.zeros(places)
    for place in range(places):
        for head in range(heads):
            mean = math.fsum(float(weights[head, query, place]) for query in range(queries)) / queries
            energy[place] += mean**power
    return unit(energy)


def token_channel_attention(tokens: np.ndarray, power: float) -> np.ndarray:
    """Return the sum over tokens of |x|^power in each channel, divided by its L2 norm: [T, D] to [D]."""
    return unit(np.array([math.fsum(abs(float(value)) ** power for value in column) for column in tokens.T]))


def attention_weights(tokens: np.ndarray, query: np.ndarray, key: np.ndarray, heads: int) -> np.ndarray:
    """Return softmax(q_i . k_j / sqrt(d)) of each head, [T, I] and matrices [D, I] to [heads, T, T]."""
    count, each = len(tokens), len(query) // heads
    found = np.zeros((heads, count, count))
    for head in range(heads):
        rows = slice(head * each, (head + 1) * each)
        queries, keys = [query[rows] @ token for token in tokens], [key[rows] @ token for token in tokens]
        for i in range(count):
            scores = np.array([float(queries[i] @ keys[j]) for j in range(count)]) / math.sqrt(each)
            found[head, i] = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    return found


def unit(vector: np.ndarray) -> np.ndarray:
    """Return the vector divided by its L2 norm; zeros stay zeros."""
    norm = math.sqrt(math.fsum(float(v) ** 2 for v in vector))
    return vector / norm if norm > 0 else vector

"""The objective of ATOM, DataDAM and DM, term by term."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from oracles.attention import channel_attention, spatial_attention

LOSS_FACTOR = 100.0


@dataclass(frozen=True)
class Batch:
    """Features of labeled images: maps[l] [B, C_l, H_l, W_l], embedding [B, D], labels [B]."""

    maps: Sequence[np.ndarray]
    embedding: np.ndarray
    labels: Sequence[int]


@dataclass(frozen=True)
class Terms:
    """Which terms the objective has, and their constants."""

    spatial: bool = True
    channel: bool = True
    embedding: bool = True
    task_balance: float = 0.01
    spatial_power: float = 4.0
    channel_power: float = 4.0
    second_moments: float = 0.0


def objective(real: Batch, synthetic: Batch, num_classes: int, terms: Terms) -> float:
    """100 x the sum over classes of (attention distances in all layers but the last + lambda x embedding's)."""
    total = 0.0
    for k in range(num_classes):
        for layer in range(len(real.maps) - 1):
            if terms.spatial:
                total += _distance(real, synthetic, k, _spatial(layer, terms.spatial_power))
            if terms.channel:
                total += _distance(real, synthetic, k, _channel(layer, terms.channel_power))
            total += terms.second_moments * _distance(real, synthetic, k, _squares(layer))
        if terms.embedding:
            total += terms.task_balance * _distance(real, synthetic, k, lambda batch, i: batch.embedding[i])
        total += terms.second_moments * _distance(real, synthetic, k, lambda batch, i: batch.embedding[i] ** 2)
    return LOSS_FACTOR * total


Statistic = Callable[[Batch, int], np.ndarray]


def _spatial(layer: int, power: float) -> Statistic:
    return lambda batch, i: spatial_attention(batch.maps[layer][i], power)


def _channel(layer: int, power: float) -> Statistic:
    return lambda batch, i: channel_attention(batch.maps[layer][i], power)


def _squares(layer: int) -> Statistic:
    return lambda batch, i: np.array([np.mean(channel * channel) for channel in batch.maps[layer][i]])


def _distance(real: Batch, synthetic: Batch, k: int, statistic: Statistic) -> float:
    difference = _mean(real, k, statistic) - _mean(synthetic, k, statistic)
    return float(sum(d * d for d in difference))


def _mean(batch: Batch, k: int, statistic: Statistic) -> np.ndarray:
    rows = [statistic(batch, i) for i, label in enumerate(batch.labels) if label == k]
    total = np.zeros_like(rows[0], dtype=np.float64)
    for row in rows:
        total += row
    return total / len(rows)

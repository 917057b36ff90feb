"""CutMix pixel by pixel, in float64 numpy."""

from __future__ import annotations

import numpy as np


def oracle_cutmix(
    images: np.ndarray, targets: np.ndarray, partner: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel from the image or its partner; each target by the share of pixels that are from the partner."""
    count, channels, height, width = images.shape
    mixed, labels = np.empty((count, channels, height, width)), np.empty(targets.shape)
    for index in range(count):
        foreign = 0
        for y in range(height):
            for x in range(width):
                inside = rows[0] <= y < rows[1] and columns[0] <= x < columns[1]
                foreign += inside
                for channel in range(channels):
                    mixed[index, channel, y, x] = images[partner[index] if inside else index, channel, y, x]
        part = foreign / (height * width)
        for label in range(targets.shape[1]):
            labels[index, label] = (1 - part) * targets[index, label] + part * targets[partner[index], label]
    return mixed, labels

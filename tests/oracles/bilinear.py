"""Bilinear interpolation of pixel centers, and images divided into tiles, pixel by pixel."""

from __future__ import annotations

from math import floor

import numpy as np


def enlarge(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Interpolate [C, h, w] to [C, height, width]; pixel i of n covers i/n to (i+1)/n, beyond the edge is the edge."""
    channels, rows, columns = image.shape
    result = np.zeros((channels, height, width))
    for y in range(height):
        for x in range(width):
            for (row, of_row), (column, of_column) in _pairs(y, height, rows, x, width, columns):
                result[:, y, x] += of_row * of_column * image[:, row, column].astype(np.float64)
    return result


def tiles(grid: np.ndarray, factor: int, height: int, width: int) -> list[np.ndarray]:
    """Cut [C, h, w] into factor x factor tiles, row by row, and enlarge each."""
    h, w = grid.shape[1] // factor, grid.shape[2] // factor
    corners = [(row * h, column * w) for row in range(factor) for column in range(factor)]
    return [enlarge(grid[:, top : top + h, left : left + w], height, width) for top, left in corners]


def _pairs(y: int, height: int, rows: int, x: int, width: int, columns: int):
    return [(row, column) for row in _weights(y, height, rows) for column in _weights(x, width, columns)]


def _weights(place: int, size: int, old_size: int) -> list[tuple[int, float]]:
    center = (place + 0.5) * old_size / size - 0.5
    low = floor(center)
    return [(min(max(index, 0), old_size - 1), 1 - abs(center - index)) for index in (low, low + 1)]

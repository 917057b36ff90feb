"""Each augmentation on one image [C, H, W] with its own numbers, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np


def apply(operation: str, image: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Convert numbers in [0, 1) to the parameters of the operation, and apply it."""
    height, width = image.shape[1:]
    u = [float(number) for number in uniforms]
    match operation:
        case "color":
            return color(image, brightness=u[0] - 0.5, saturation=2 * u[1], contrast=u[2] + 0.5)
        case "crop":
            reach_y, reach_x = round_half_up(height * 0.125), round_half_up(width * 0.125)
            return shift(image, pick(u[0], 2 * reach_y + 1) - reach_y, pick(u[1], 2 * reach_x + 1) - reach_x)
        case "cutout":
            size_y, size_x = round_half_up(height * 0.5), round_half_up(width * 0.5)
            center_y = pick(u[0], height + (size_y % 2 == 0))
            center_x = pick(u[1], width + (size_x % 2 == 0))
            return erase(image, center_y - size_y // 2, center_x - size_x // 2, size_y, size_x)
        case "flip":
            return mirror(image) if u[0] < 0.5 else image.copy()
        case "scale":
            low, high = 1 / 1.2, 1.2
            return warp(image, [[low + u[0] * (high - low), 0.0], [0.0, low + u[1] * (high - low)]])
        case "rotate":
            angle = math.radians(-15 + 30 * u[0])
            longer = (height - 1) / (width - 1)  # warp's coordinates have units of their own along each side
            return warp(
                image, [[math.cos(angle), -math.sin(angle) * longer], [math.sin(angle) / longer, math.cos(angle)]]
            )
    raise ValueError(operation)


def pick(u: float, count: int) -> int:
    """Return one of 0..count-1, each for an equal part of [0, 1)."""
    return min(int(u * count), count - 1)


def round_half_up(value: float) -> int:
    """Nearest integer."""
    return math.floor(value + 0.5)


def color(image: np.ndarray, *, brightness: float, saturation: float, contrast: float) -> np.ndarray:
    """Brightness, then saturation about each pixel's gray, then contrast about the image's mean."""
    channels, height, width = image.shape
    out = np.empty(image.shape)
    for y in range(height):
        for x in range(width):
            lit = [float(image[c, y, x]) + brightness for c in range(channels)]
            gray = math.fsum(lit) / channels
            for c in range(channels):
                out[c, y, x] = (lit[c] - gray) * saturation + gray
    mean = math.fsum(out.ravel().tolist()) / out.size
    return (out - mean) * contrast + mean


def shift(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return the image shifted by (-down, -right), filled with zeros."""
    channels, height, width = image.shape
    out = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            if 0 <= y + down < height and 0 <= x + right < width:
                for c in range(channels):
                    out[c, y, x] = image[c, y + down, x + right]
    return out


def erase(image: np.ndarray, top: int, left: int, size_y: int, size_x: int) -> np.ndarray:
    """Set a rectangle to zero, clipped at the border."""
    out = np.array(image, dtype=np.float64)
    for y in range(top, top + size_y):
        for x in range(left, left + size_x):
            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                out[:, y, x] = 0.0
    return out


def mirror(image: np.ndarray) -> np.ndarray:
    """Mirror left to right."""
    width = image.shape[2]
    out = np.empty(image.shape)
    for x in range(width):
        out[:, :, x] = image[:, :, width - 1 - x]
    return out


def warp(image: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    """Sample the input for each output pixel at matrix @ (x, y), in coordinates where corner pixels are at -1 and 1."""
    channels, height, width = image.shape
    out = np.zeros(image.shape)
    for i in range(height):
        for j in range(width):
            y, x = -1 + 2 * i / (height - 1), -1 + 2 * j / (width - 1)
            from_x = matrix[0][0] * x + matrix[0][1] * y
            from_y = matrix[1][0] * x + matrix[1][1] * y
            row, column = (from_y + 1) / 2 * (height - 1), (from_x + 1) / 2 * (width - 1)
            for c in range(channels):
                out[c, i, j] = bilinear(image[c], row, column)
    return out


def bilinear(plane: np.ndarray, row: float, column: float) -> float:
    """Return the bilinear value of a plane [H, W] between pixels; zero outside."""
    top, left = math.floor(row), math.floor(column)
    total = 0.0
    for y, weight_y in ((top, 1 - (row - top)), (top + 1, row - top)):
        for x, weight_x in ((left, 1 - (column - left)), (left + 1, column - left)):
            if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1]:
                total += weight_y * weight_x * float(plane[y, x])
    return total

"""ZCA whitening by eigenvectors."""

from __future__ import annotations

import numpy as np


def fit(rows: np.ndarray, eps: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Return for intensities [N, D] the mean [D] and the symmetric transform [D, D] = E (V + eps)^(-1/2) E^T."""
    mean = rows.mean(axis=0)
    centered = rows - mean
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for row in centered:
        covariance += np.outer(row, row)
    values, vectors = np.linalg.eigh(covariance / (len(rows) - 1))
    transform = np.zeros_like(covariance)
    for value, vector in zip(values, vectors.T, strict=True):
        transform += np.outer(vector, vector) / np.sqrt(value + eps)
    return mean, (transform + transform.T) / 2


def whiten(row: np.ndarray, mean: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """One image [D] in [0, 1] to model space."""
    return np.array([np.sum((row - mean) * transform[:, d]) for d in range(len(row))])


def color(row: np.ndarray, mean: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """One image [D] from model space back to intensities."""
    return np.linalg.solve(transform.T, row) + mean

"""The distance between two gradients of a network, as matched by DC."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError

_EPS = 1e-6
"""Added to the product of norms, as in the DC code."""


def gradient_distance(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Return the sum of 1 - cosine over the output neurons or filters of every layer.

    One-dimensional parameters (biases, scales and shifts of norms) do not count.

    Args:
        real: gradients of the parameters from real images, of any shapes.
        synthetic: gradients of the same parameters from synthetic images; may require gradient.

    Returns:
        Shape [], at least 0 up to rounding.

    Raises:
        ShapeError: the gradients differ in number or shapes, or none has two axes.

    Source: Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021), eq. 10.
    """
    if [gradient.shape for gradient in real] != [gradient.shape for gradient in synthetic]:
        raise ShapeError("real and synthetic gradients belong to different parameters")
    terms = [
        (1 - _cosines(ours.flatten(1), theirs.flatten(1))).sum()
        for ours, theirs in zip(real, synthetic, strict=True)
        if ours.ndim > 1
    ]
    if not terms:
        raise ShapeError("there is no gradient of a weight matrix to compare")
    return torch.stack(terms).sum()


def _cosines(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the cosine of each pair of rows."""
    lengths = torch.linalg.vector_norm(ours, dim=1) * torch.linalg.vector_norm(theirs, dim=1)
    cosines: Tensor = (ours * theirs).sum(1) / (lengths + _EPS)
    return cosines

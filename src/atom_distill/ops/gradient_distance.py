"""How far apart two gradients of a network's weights are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError

_EPS = 1e-6
"""Added to the product of norms, as in the DC code."""


def gradient_distance(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Tensor:
    """Sum 1 - cosine over the output neurons or filters of every layer.

    Biases and the scales and shifts of norms, which have one axis, do not count.

    Args:
        real: gradients of a network's parameters, of any shapes.
        synthetic: the same of the same network; differentiable where wanted.

    Returns:
        Shape [], at least 0 but for rounding.

    Raises:
        ShapeError: they are not of the same parameters.

    Source: Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR 2021), eq. 10.
    """
    if [gradient.shape for gradient in real] != [gradient.shape for gradient in synthetic]:
        raise ShapeError("the two gradients are of different parameters")
    terms = [
        (1 - _cosines(ours.flatten(1), theirs.flatten(1))).sum()
        for ours, theirs in zip(real, synthetic, strict=True)
        if ours.ndim > 1
    ]
    if not terms:
        raise ShapeError("there is no gradient of a weight matrix to compare")
    return torch.stack(terms).sum()


def _cosines(ours: Tensor, theirs: Tensor) -> Tensor:
    """Of each pair of rows."""
    lengths = torch.linalg.vector_norm(ours, dim=1) * torch.linalg.vector_norm(theirs, dim=1)
    cosines: Tensor = (ours * theirs).sum(1) / (lengths + _EPS)
    return cosines

"""The gradient distance against its formula, entry by entry in numpy float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ShapeError
from atom_distill.ops.gradient_distance import gradient_distance

SHAPES = [(4, 3, 3, 3), (4,), (5, 7), (5,)]


def gradients(seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=random, dtype=torch.float64) for shape in SHAPES]


def written_out(real: list[np.ndarray], synthetic: list[np.ndarray]) -> float:
    total = 0.0
    for ours, theirs in zip(real, synthetic, strict=True):
        if ours.ndim == 1:
            continue
        for row in range(len(ours)):
            a, b = ours[row].ravel(), theirs[row].ravel()
            total += 1 - a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b) + 1e-6)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_sum_of_one_minus_cosine_over_rows(seed):
    real, synthetic = gradients(seed), gradients(seed + 100)
    want = written_out([g.numpy() for g in real], [g.numpy() for g in synthetic])
    assert float(gradient_distance(real, synthetic)) == pytest.approx(want, rel=1e-12)


def test_equal_gradients_have_distance_zero_and_opposite_ones_twice_the_rows():
    real = gradients(0)
    assert float(gradient_distance(real, real)) == pytest.approx(0, abs=1e-5)
    assert float(gradient_distance(real, [-gradient for gradient in real])) == pytest.approx(2 * 9, abs=1e-5)


def test_the_length_of_a_gradient_does_not_count():
    real, synthetic = gradients(0), gradients(1)
    longer = [3 * gradient for gradient in synthetic]
    near = float(gradient_distance(real, synthetic))
    assert float(gradient_distance(real, longer)) == pytest.approx(near, rel=1e-5)


def test_gradients_of_other_parameters_are_refused():
    with pytest.raises(ShapeError, match="different parameters"):
        gradient_distance(gradients(0), gradients(0)[:3])
    with pytest.raises(ShapeError, match="no gradient of a weight matrix"):
        gradient_distance([torch.ones(3)], [torch.ones(3)])

"""CutMix against pixel loops, and its draws against the distribution they are from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.ops.cutmix import CutMixDraw, draw_cutmix, mix
from oracles.cutmix import oracle_cutmix


@pytest.mark.parametrize("seed", range(6))
def test_images_and_labels_equal_the_loops(seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(5, 2, 6, 9, generator=random, dtype=torch.float64)
    targets = torch.randn(5, 4, generator=random, dtype=torch.float64).softmax(1)
    before = images.clone()
    draw = draw_cutmix(5, 6, 9, random)
    mixed, labels = mix(images, targets, draw)
    wanted = oracle_cutmix(images.numpy(), targets.numpy(), draw.partner.numpy(), draw.rows, draw.columns)
    np.testing.assert_array_equal(mixed.numpy(), wanted[0])
    np.testing.assert_allclose(labels.numpy(), wanted[1], rtol=1e-12)
    assert torch.equal(images, before)


def test_a_box_of_a_quarter_by_hand():
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    mixed, labels = mix(images, torch.eye(2), CutMixDraw(torch.tensor([1, 0]), (0, 2), (2, 4)))
    assert mixed[0, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert labels.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_draws_follow_their_distribution():
    """Against 4000 boxes drawn by numpy: the mean and deviation of the area, and of the first row."""
    random, other = torch.Generator().manual_seed(0), np.random.default_rng(0)
    draws = [draw_cutmix(8, 32, 32, random) for _ in range(4000)]
    area = np.array([(d.rows[1] - d.rows[0]) * (d.columns[1] - d.columns[0]) / 1024 for d in draws])
    half = (32 * np.sqrt(1 - other.beta(1, 1, 4000))).astype(int) // 2
    center = other.integers(0, 32, (2, 4000))
    low, high = np.clip(center - half, 0, 32), np.clip(center + half, 0, 32)
    theirs = (high - low).prod(0) / 1024
    assert area.mean() == pytest.approx(theirs.mean(), abs=0.02)
    assert area.std() == pytest.approx(theirs.std(), abs=0.02)
    assert np.mean([d.rows[0] for d in draws]) == pytest.approx(low[0].mean(), abs=0.7)
    assert all(sorted(d.partner.tolist()) == list(range(8)) for d in draws)
    assert len({tuple(d.partner.tolist()) for d in draws}) > 3000


def test_boxes_of_other_than_square_images_stay_inside():
    random = torch.Generator().manual_seed(1)
    draws = [draw_cutmix(1, 3, 50, random) for _ in range(300)]
    assert all(0 <= d.rows[0] <= d.rows[1] <= 3 and 0 <= d.columns[0] <= d.columns[1] <= 50 for d in draws)
    assert max(d.columns[1] - d.columns[0] for d in draws) > 30

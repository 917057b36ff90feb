"""How many synthetic images each class gets."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_distill.base.errors import ConfigError
from atom_distill.distillation.images_per_class import class_labels, first_of_each, images_per_class, proportional
from distillation.toys import toy_dataset

steady = settings(deadline=None, derandomize=True, max_examples=60)
SIZES = st.lists(st.integers(1, 60), min_size=2, max_size=8)


def test_a_budget_is_shared_out_by_size():
    assert proportional(torch.tensor([5, 500, 5000]), 56).tolist() == [1, 5, 50]
    assert proportional(torch.tensor([10, 10, 10]), 7).tolist() == [3, 2, 2]
    assert proportional(torch.tensor([10, 1000]), 1009).tolist() == [10, 999]


@steady
@given(SIZES, st.data())
def test_no_other_sharing_is_fairer(sizes, data):
    """Moving an image from any class to any other brings no class nearer to its exact share, summed by size."""
    budget = data.draw(st.integers(len(sizes), sum(sizes)))
    shares = proportional(torch.tensor(sizes), budget).tolist()
    assert sum(shares) == budget
    assert all(1 <= share <= size for share, size in zip(shares, sizes, strict=True))

    def unfairness(candidate):  # what Sainte-Lague's method minimizes
        return sum(
            (share / size - budget / sum(sizes)) ** 2 * size for share, size in zip(candidate, sizes, strict=True)
        )

    for poorer in range(len(sizes)):
        for richer in range(len(sizes)):
            moved = list(shares)
            moved[poorer] -= 1
            moved[richer] += 1
            if moved[poorer] >= 1 and moved[richer] <= sizes[richer]:
                assert unfairness(moved) >= unfairness(shares) - 1e-9


@steady
@given(SIZES)
def test_a_larger_budget_takes_from_no_class(sizes):
    shares = [proportional(torch.tensor(sizes), budget) for budget in range(len(sizes), sum(sizes) + 1)]
    assert all(bool((later >= earlier).all()) for earlier, later in itertools.pairwise(shares))


@pytest.mark.parametrize("budget", [2, 31])
def test_a_budget_out_of_range_is_refused(budget):
    with pytest.raises(ConfigError, match=r"between 3 \(one image per class\) and 30"):
        images_per_class(toy_dataset((5, 10, 15)), None, budget)


def test_ipc_is_the_same_for_all():
    assert images_per_class(toy_dataset((5, 10, 15)), 4, None).tolist() == [4, 4, 4]
    assert class_labels(torch.tensor([1, 3, 2])).tolist() == [0, 1, 1, 1, 2, 2]


def test_the_first_images_of_each_class_stand_for_a_large_set():
    assert first_of_each(torch.tensor([3, 3]), 600).tolist() == [0, 1, 2, 3, 4, 5]
    assert first_of_each(torch.tensor([3, 1, 4]), 4).tolist() == [0, 1, 3, 4]
    assert first_of_each(torch.tensor([3, 1, 4]), 5).tolist() == [0, 1, 3, 4, 5]
    assert first_of_each(torch.tensor([1] * 9), 1).tolist() == [0]

"""Coreset selection against brute force in numpy, and forgetting events traced by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ShapeError
from atom_distill.ops.coresets import forgetting_events, herding, k_center, most_forgotten, nearest_to_k_means


def points(count: int = 23, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_herding_is_the_best_next_image_each_time(seed):
    rows = points(seed=seed).numpy()
    want: list[int] = []
    for _ in range(9):
        means = {i: rows[[*want, i]].mean(axis=0) for i in range(len(rows)) if i not in want}
        want.append(min(means, key=lambda i: np.linalg.norm(rows.mean(axis=0) - means[i])))
    assert herding(points(seed=seed), 9).tolist() == want


@pytest.mark.parametrize("seed", range(3))
def test_k_center_starts_in_the_middle_and_goes_to_the_farthest(seed):
    rows = points(seed=seed).numpy()
    want = [int(np.argmin([np.linalg.norm(row - rows.mean(axis=0)) for row in rows]))]
    while len(want) < 9:
        gaps = [min(np.linalg.norm(row - rows[chosen]) for chosen in want) for row in rows]
        want.append(int(np.argmax(gaps)))
    assert k_center(points(seed=seed), 9).tolist() == want


def test_the_greedy_centers_cover_within_twice_the_best_radius():
    """The approximation guarantee of the algorithm, checked over all choices of three centers."""
    rows = points(12)
    distances = torch.cdist(rows, rows)
    radius = lambda chosen: float(distances[list(chosen)].min(dim=0).values.max())  # noqa: E731
    best = min(radius((i, j, k)) for i in range(12) for j in range(i) for k in range(j))
    assert best <= radius(k_center(rows, 3).tolist()) <= 2 * best


def test_k_means_chooses_the_image_nearest_to_the_mean_of_each_cluster():
    """Groups far from each other are the clusters, whatever the first centers."""
    rows, groups = points(40), torch.arange(40) % 4
    rows = rows + 100 * torch.nn.functional.one_hot(groups, 4)
    want = set()
    for group in range(4):
        members = (groups == group).nonzero().flatten().tolist()
        mean = np.mean([rows[i].numpy() for i in members], axis=0)
        want.add(min(members, key=lambda i: float(np.linalg.norm(rows[i].numpy() - mean))))
    for seed in (0, 1, 2**62):
        assert set(nearest_to_k_means(rows, 4, seed).tolist()) == want
        assert nearest_to_k_means(rows.float(), 4, seed).tolist() == nearest_to_k_means(rows.float(), 4, seed).tolist()


def test_k_means_of_one_cluster_is_the_middle():
    rows = points()
    assert nearest_to_k_means(rows, 1, 0).tolist() == [int((rows - rows.mean(0)).norm(dim=1).argmin())]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_k_means_chooses_every_image_once_even_among_equals():
    assert sorted(nearest_to_k_means(torch.ones(5, 3), 5, 0).tolist()) == list(range(5))
    with pytest.raises(ShapeError):
        nearest_to_k_means(points(3), 4, 0)


@pytest.mark.parametrize("choose", [herding, k_center])
def test_all_images_are_chosen_once_even_if_they_are_equal(choose):
    assert sorted(choose(torch.ones(5, 3), 5).tolist()) == list(range(5))


@pytest.mark.parametrize("choose", [herding, k_center])
@pytest.mark.parametrize("count", [0, 6])
def test_more_images_than_there_are_is_refused(choose, count):
    with pytest.raises(ShapeError, match=f"cannot choose {count} of 5 images"):
        choose(torch.ones(5, 3), count)


def test_forgetting_events_of_a_run_traced_by_hand():
    trace = {
        "learned at once and kept": ("11111", 0),
        "learned late": ("00011", 0),
        "forgotten once": ("01100", 1),
        "forgotten twice": ("10101", 2),
        "forgotten at the end": ("11110", 1),
        "never learned": ("00000", 5),
    }
    right = torch.tensor([[mark == "1" for mark in marks] for marks, _ in trace.values()]).T
    assert forgetting_events(right).tolist() == [events for _, events in trace.values()]


def test_the_most_forgotten_come_first_and_the_seed_decides_between_equals():
    events = torch.tensor([0, 3, 1, 3, 1, 1, 5])
    orders = {tuple(most_forgotten(events, 4, torch.Generator().manual_seed(seed)).tolist()) for seed in range(40)}
    assert {order[0] for order in orders} == {6}
    assert {frozenset(order[1:3]) for order in orders} == {frozenset({1, 3})}
    assert {order[3] for order in orders} == {2, 4, 5}

"""Of several processes the first one decodes a set, and the others open what it has cached."""

from __future__ import annotations

import inspect

import pytest
import torch

import atom_distill
from atom_distill import api
from atom_distill.data import load
from atom_distill.processes.ranks import Ranks


class FakeRanks(Ranks):
    """One rank of two, which makes its call as the two would one after the other."""

    def rank0_first(self, make):
        self.events.append("waited")
        return make()


@pytest.mark.parametrize("rank", [0, 1])
def test_only_rank_0_refreshes(rank, monkeypatch):
    ranks, events = FakeRanks(rank, 2), []
    object.__setattr__(ranks, "events", events)
    monkeypatch.setattr(api, "current_ranks", lambda: ranks)
    monkeypatch.setattr(load, "load_dataset", lambda *names, **options: events.append((names, options)))
    given = {
        "data_dir": "here",
        "image_size": 3,
        "test_fraction": 0.5,
        "classes": ("a", "b"),
        "skip_unreadable": True,
        "seed": 7,
        "test_split": "dev",
        "image_column": "picture",
        "label_column": "animal",
    }
    atom_distill.load_dataset("pets", **given, refresh=True)
    assert events == ["waited", (("pets",), {**given, "refresh": rank == 0})]


def test_both_ways_in_take_the_same_arguments():
    assert inspect.signature(api.load_dataset) == inspect.signature(load.load_dataset)


def test_one_process_loads_the_same_set(class_folders):
    one, other = atom_distill.load_dataset(class_folders, image_size=4), load.load_dataset(class_folders, image_size=4)
    assert one.identity() == other.identity()
    assert torch.equal(one.train.images, other.train.images)

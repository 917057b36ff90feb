"""Sets whose classes differ in size, and budgets shared out among them."""

from __future__ import annotations

import pytest
import torch

from atom_distill.api import evaluate
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.config.training_protocol import PROTOCOLS
from distillation.toys import go, toy_dataset

DATA = toy_dataset((5, 40, 15))
BUDGET = {"data": DATA, "ipc": None, "budget": 12}
SHARES = [1, 8, 3]


@pytest.mark.parametrize("method", ["atom", "dm", "random", "herding", "k-center", "k-means", "forgetting"])
def test_a_budget_is_shared_out_by_every_method(method, tmp_path):
    made = go(tmp_path / "run", method=method, **BUDGET)
    loaded = DistilledDataset.load(tmp_path / "run")
    assert made.per_class.tolist() == loaded.per_class.tolist() == SHARES
    assert loaded.ipc is None
    assert len(list((tmp_path / "run" / "images").rglob("*.png"))) == 12
    kind = "synthetic" if method in ("atom", "dm") else "real"
    assert f"12 {kind} images (1 to 8 per class, 3 classes, 3x8x8)" in (tmp_path / "run" / "README.md").read_text()


def test_it_is_scored_against_as_many_random_images_of_each_class(tmp_path):
    go(tmp_path / "run", **BUDGET)
    score = evaluate(
        DistilledDataset.load(tmp_path / "run"), DATA, repeats=1, protocol=PROTOCOLS.get("dm").changed(epochs=2)
    )
    assert (score.images, score.ipc) == (12, None)


def test_a_stopped_run_goes_on_to_the_same_images(tmp_path):
    go(tmp_path / "run", steps=3, **BUDGET)
    again = go(tmp_path / "run", steps=8, resume=True, **BUDGET)
    assert torch.equal(again.images, go(**BUDGET).images)


def test_equal_classes_make_a_budget_an_ipc():
    data = toy_dataset((9, 9, 9))
    budget = go(data=data, ipc=None, budget=6)
    assert torch.equal(budget.images, go(data=data, ipc=2).images)
    assert budget.ipc == 2


def test_classes_of_very_different_sizes_are_distilled_at_one_ipc():
    data = toy_dataset((5, 5000, 60))
    assert go(data=data, ipc=5, steps=2).per_class.tolist() == [5, 5, 5]

"""Evaluations during a run: on held-out training images, never on the test split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from atom_distill.api import plan_distillation
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import InterruptedRunError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.subset import hold_out
from atom_distill.distillation import optimize
from atom_distill.distillation.method import RunPlan
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.evaluation.evaluate import Evaluation
from distillation.toys import go, toy_dataset


class Judge:
    """Returns accuracies from a list, and remembers what it was shown."""

    def __init__(self, *accuracies: float) -> None:
        self.accuracies = list(accuracies)
        self.shown: list[Tensor] = []
        self.held_out: list[ImageDataset] = []

    def __call__(self, plan: RunPlan, _preprocessing: object, stored: dict[str, Tensor]) -> float:
        assert plan.settings.eval_every
        self.shown.append(stored["images"].clone())
        self.held_out.append(plan.training)
        return self.accuracies[len(self.shown) - 1]


def judged(judge: Judge, out: Path | None = None, *, resume: bool = False, **changes) -> DistilledDataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimize, "held_out_accuracy", judge)
        return go(out, resume=resume, **{"eval_every": 2, "holdout": 0.3, **changes})


def test_the_best_set_on_held_out_images_is_kept_beside_the_last(tmp_path):
    judge = Judge(10, 30, 20, 30)
    last = judged(judge, tmp_path / "run")
    best = DistilledDataset.load(tmp_path / "run", which="best")
    assert (best.steps, best.which) == (4, "best")  # of two equals the earlier
    assert torch.equal(best.images, judge.shown[1])
    loaded = DistilledDataset.load(tmp_path / "run")
    assert torch.equal(loaded.images, judge.shown[3])
    for found in (last, loaded, judged(judge, tmp_path / "run", resume=True)):  # the last of which is finished
        assert torch.equal(found.best.images, judge.shown[1])
    assert [entry.get("held_out_accuracy") for entry in last.history] == [None, 10, None, 30, None, 20, None, 30]


def test_judging_changes_nothing_but_the_training_images():
    data = toy_dataset()
    judge = Judge(1, 2, 3, 4)
    judged(judge)
    held, kept = judge.held_out[0].test.images.flatten(1), judge.held_out[0].train.images.flatten(1)
    rows = lambda images: {tuple(row) for row in images.tolist()}  # noqa: E731
    assert rows(held).isdisjoint(rows(kept))
    assert rows(held) | rows(kept) == rows(data.train.images.flatten(1))
    assert rows(held).isdisjoint(rows(data.test.images.flatten(1)))
    assert torch.bincount(judge.held_out[0].test.labels).tolist() == [3, 3, 3]
    assert all(held_out is judge.held_out[0] for held_out in judge.held_out)


def test_held_out_images_are_not_distilled(monkeypatch):
    drawn = []
    load = ClassSampler.load
    monkeypatch.setattr(ClassSampler, "load", lambda *args: drawn.append(load(*args)) or drawn[-1])
    judge = Judge(1, 2, 3, 4)
    distilled = judged(judge, batch_real=100)
    pixels = distilled.preprocessing.invert(torch.cat(drawn)).mul(255).round().to(torch.uint8).flatten(1)
    seen = {tuple(row) for row in pixels.tolist()}
    assert seen == {tuple(row) for row in judge.held_out[0].train.images.flatten(1).tolist()}


def test_the_best_set_survives_a_resume(tmp_path, stop_at):
    whole = judged(Judge(10, 30, 20, 25), tmp_path / "whole")
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        judged(Judge(10, 30), tmp_path / "cut")
    stop_at(0)
    resumed = judged(Judge(20, 25), tmp_path / "cut", resume=True)
    assert torch.equal(resumed.images, whole.images)
    assert torch.equal(resumed.best.images, whole.best.images)
    assert resumed.best.steps == 4
    assert resumed.history == whole.history


def test_the_judge_trains_on_what_a_file_would_hold_and_tests_on_held_out_images(monkeypatch):
    """The real test split, whose labels are others here, has no part in it."""
    data = toy_dataset((30, 30, 30))
    data = replace(data, test=Split(data.test.images, (data.test.labels + 1) % 3))
    of_file = {"parameterization": "tiles-2", "bits": 4, "pool": 1, "pool_epochs": 20, "soft_labels": True}
    rules = {"eval_every": 2, "eval_epochs": 40, "eval_repeats": 2, "holdout": 0.3, "seed": 4}
    made = go(data=data, steps=2, ipc=5, **of_file, **rules)
    protocol = PROTOCOLS.get("dm").changed(epochs=40)
    judge = Evaluation(shape=NetworkShape(width=8), repeats=2, protocol=protocol, seed=4, show_progress=False)
    held_out, images = hold_out(data, 0.3, 4), made.training_set()
    expected = judge.of_images(images, made.preprocessing, held_out).mean
    assert made.history[-1]["held_out_accuracy"] == pytest.approx(expected, abs=1e-9)
    assert expected != judge.of_images(images, made.preprocessing, data).mean
    assert expected != judge.of_images(images._replace(soft_labels=None), made.preprocessing, held_out).mean


def test_of_a_small_class_only_what_is_not_held_out_is_asked_for():
    """The preset chooses the number of images, and must not ask for more than there are left."""
    plan = plan_distillation(toy_dataset((12, 60, 60)), {"preset": "best", "ipc": 1, "eval_every": 10, "pool": 1})
    assert plan.settings.pictures == 11

"""Classes are added to a finished set: they equal those of a run over all classes, and the others stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from atom_distill.api import distill, load_dataset
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import CARD_FILE
from atom_distill.base.errors import ArtifactError, ConfigError, InterruptedRunError
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.subset import only_classes
from atom_distill.distillation import run as running
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.extension import preprocessed_by
from distillation.steps import Case, computed, drawing
from distillation.toys import SETTINGS, go, toy_dataset

DATA = toy_dataset((9, 7, 9, 8))
OLD, NEW = ("class 2", "class 0"), (1, 3)
"""Classes that are there first, in another order than in the data, and labels of those that are added."""


def add(base: Path, out: Path | None = None, *, data: ImageDataset = DATA, **settings: Any) -> DistilledDataset:
    given = {"compile": "off", "device": "cpu", "show_progress": False, "add_classes": base, **settings}
    return distill(data, out=out, **given)


def run_of_all(base: DistilledDataset, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> DistilledDataset:
    """A usual run over all classes with the transform of a set."""
    monkeypatch.setattr(running, "fit_preprocessing", lambda _kind, _dataset: base.preprocessing)
    return go(data=DATA, **settings)


def of_class(values: torch.Tensor, label: int) -> torch.Tensor:
    """The rows of a class of the four, which have equally many."""
    return values.unflatten(0, (4, -1))[label]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_real": 5, "chunk": 4, "norm": "none", "image_optimizer": "adam", "image_average": 0.9},
        {"parameterization": "frequency-4-2", "bits": 32, "init": "noise", "nested": True, "ipc": 3},
        {"parameterization": "tiles-2", "init": "noise", "batch_synthetic": 1, "chunk": 5, "second_moments": 1.0},
        {"pool": 1, "pool_epochs": 1, "label_weight": 1.0, "networks": "interpolated", "init": "k-means"},
        {"method": "dm", "augment": "none", "real_batches": "k-means", "eval_every": 4, "eval_epochs": 1},
    ],
)
def test_they_are_those_of_a_run_over_all_classes_bit_for_bit(tmp_path, monkeypatch, settings):
    settings = {"ipc": 2, "steps": 4, **settings}
    base = go(tmp_path / "base", data=only_classes(DATA, OLD), **settings)
    whole = add(tmp_path / "base", chunk=settings.get("chunk", 0))
    expected = run_of_all(base, monkeypatch, **settings)
    for name, values in whole.stored.items():
        for label in NEW:
            assert torch.equal(of_class(values, label), of_class(expected.stored[name], label))
        for label, old in enumerate(OLD):
            rows = base.stored[name][base.row_labels == label]
            assert torch.equal(of_class(values, DATA.class_names.index(old)), rows)
    assert whole.class_names == DATA.class_names
    assert not torch.equal(whole.images, expected.images)


def test_nothing_has_to_be_arranged_where_the_transform_is_that_of_all_classes(tmp_path):
    """Classes of the same pixels in other places have the same means and deviations, however many they are."""
    images = toy_dataset((8, 8)).train.images[:8]
    moved = torch.cat([images.roll(2 * label, 2) for label in range(4)])
    split = Split(moved, torch.arange(4).repeat_interleave(8))
    data = replace(DATA, train=split, test=split)
    go(tmp_path / "base", data=only_classes(data, 3), ipc=2)
    whole = add(tmp_path / "base", data=data)
    assert torch.equal(of_class(whole.images, 3), of_class(go(data=data, ipc=2).images, 3))


def test_only_what_is_needed_is_computed(tmp_path, monkeypatch):
    go(tmp_path / "base", data=only_classes(DATA, 3), ipc=2, steps=2, chunk=2, batch_real=4)
    seen = {"real": 0, "synthetic": 0}

    def counting(name: str) -> Any:
        compute = getattr(Encoder, name)

        def counted(self: Encoder, images: torch.Tensor, *more: torch.Tensor) -> Any:
            seen[name] += len(images)
            return compute(self, images, *more)

        return counted

    for name in seen:
        monkeypatch.setattr(Encoder, name, counting(name))
    add(tmp_path / "base", chunk=2)
    assert seen == {"real": 2 * 4, "synthetic": 2 * 2}


@pytest.mark.parametrize("growing", [[1], [0, 3], []])
def test_a_step_has_the_gradient_of_the_growing_classes_alone(growing):
    case = Case(ipc=2, augment="color_crop", chunk=4)
    _, everything = computed(case)
    loss, some = computed(case, matching=drawing(case.step(), growing=torch.tensor(growing, dtype=torch.int64)))
    expected = torch.zeros_like(everything)
    for label in growing:
        expected[2 * label : 2 * label + 2] = everything[2 * label : 2 * label + 2]
    assert torch.equal(some, expected)
    if growing:
        assert 0 < loss < computed(case)[0]
    else:  # of a process without any of them
        assert loss == 0


def test_the_loss_is_that_of_the_added_classes(tmp_path, monkeypatch):
    base = go(tmp_path / "base", data=only_classes(DATA, 3), ipc=2, steps=1)
    only = add(tmp_path / "base").history[0]
    images = run_of_all(base, monkeypatch, ipc=2, steps=1)
    assert 0 < only["loss"] < images.history[0]["loss"]
    assert only["loss"] == pytest.approx(sum(only["terms"].values()))


def test_a_norm_that_mixes_classes_sees_the_old_images(tmp_path):
    base = go(tmp_path / "base", data=only_classes(DATA, 3), ipc=1, norm="batch", steps=2)
    whole = add(tmp_path / "base")
    assert torch.equal(whole.images[:3], base.images)
    assert whole.settings["norm"] == "batch"


@pytest.mark.parametrize(
    "settings",
    [
        {"parameterization": "frequency-4-2", "bits": 4},
        {"ipc": None, "bytes": 160, "pictures": 2, "parameterization": "frequency-4-2"},
    ],
)
def test_rounding_is_that_of_the_set(tmp_path, settings):
    base = go(tmp_path / "base", data=only_classes(DATA, OLD), init="noise", steps=2, **settings)
    add(tmp_path / "base", tmp_path / "whole")
    loaded = DistilledDataset.load(tmp_path / "whole")
    for name, step in base.parameterization.steps.items():
        assert torch.equal(loaded.parameterization.steps[name], step)
        assert torch.equal(of_class(loaded.stored[name], 2), base.stored[name][base.row_labels == 0])
    assert "added classes to the 2 of base, left as they are" in " ".join(
        (tmp_path / "whole" / CARD_FILE).read_text().split()
    )


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, stop_at):
    go(tmp_path / "base", data=only_classes(DATA, OLD), ipc=2, steps=4)
    whole = add(tmp_path / "base", tmp_path / "whole")
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        add(tmp_path / "base", tmp_path / "cut")
    stop_at(0)
    resumed = add(tmp_path / "base", tmp_path / "cut", resume=True)
    assert torch.equal(resumed.images, whole.images)
    assert resumed.history == whole.history


def test_networks_of_another_transform_are_cached_apart(tmp_path):
    base = go(tmp_path / "base", data=only_classes(DATA, OLD), steps=1)
    assert preprocessed_by(base, DATA, DATA).fingerprint != DATA.fingerprint
    own = go(data=DATA, steps=1)
    assert preprocessed_by(own, DATA, DATA).fingerprint == DATA.fingerprint


@pytest.mark.parametrize(
    ("base", "given", "told"),
    [
        ({}, {"ipc": 2}, r"`ipc=2`, not 1: what is added has the form of"),
        ({}, {"preprocess": "zca"}, r"`preprocess=zca`, not normalize"),
        ({}, {"extend": "base"}, "`extend` adds images and `add_classes` classes: give one"),
        ({}, {"method": "random"}, "random chooses real images anew: `add_classes` is for"),
        (
            {},
            {"data": only_classes(DATA, ["class 2", "class 3"])},
            "as loaded here, does not have: 'class 0'",
        ),
        (
            {},
            {"data": toy_dataset((9, 8, 9, 8))},
            "not distilled from a part of toy .*made in memory",
        ),
        ({"data": DATA}, {}, "already has all 4 classes: `add_classes` has none left"),
        ({"ipc": None, "budget": 3}, {}, "has a `budget` for all classes"),
        ({"pool": 1, "pool_epochs": 1, "soft_labels": True}, {}, "soft labels of .* are probabilities of its own"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, monkeypatch, base, given, told):
    monkeypatch.chdir(tmp_path)
    go(tmp_path / "base", **{"data": only_classes(DATA, OLD), "steps": 1, **base})
    with pytest.raises((ConfigError, ArtifactError), match=told):
        add(tmp_path / "base", **given)


@pytest.mark.cifar10
def test_a_tenth_class_of_cifar10(tmp_path, monkeypatch):
    settings = {**SETTINGS, "ipc": 2, "steps": 2, "batch_real": 24}
    nine, ten = (load_dataset("cifar10", classes=count) for count in (9, 10))
    base = distill(nine, out=tmp_path / "nine", show_progress=False, **settings)
    whole = add(tmp_path / "nine", data=ten)
    monkeypatch.setattr(running, "fit_preprocessing", lambda _kind, _dataset: base.preprocessing)
    expected = distill(ten, show_progress=False, **settings)
    assert torch.equal(whole.images[:18], base.images)
    assert torch.equal(whole.images[18:], expected.images[18:])

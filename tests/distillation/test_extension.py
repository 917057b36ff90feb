"""A run that adds images to a finished set: the old ones stay bit for bit, and the new ones complete them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from atom_distill.api import distill, plan_distillation
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import CARD_FILE, load_config
from atom_distill.base.errors import ArtifactError, ConfigError, InterruptedRunError
from atom_distill.distillation import gradient_matching
from atom_distill.distillation import run as running
from atom_distill.distillation.initial_images import initial_images
from distillation.toys import SETTINGS, go, toy_dataset

DATA = toy_dataset((9, 8, 9))

make = partial(go, data=DATA, ipc=2, steps=3)


def extend(
    base: Path, out: Path | None = None, *, data=DATA, resume: bool = False, **settings: Any
) -> DistilledDataset:
    """Extend without the settings of the toys, which the set has already."""
    settings = {"ipc": 4, "steps": 4, "compile": "off", "device": "cpu", **settings}
    given = {name: value for name, value in settings.items() if value is not None}
    return distill(data, out=out, resume=resume, show_progress=False, extend=base, **given)


def first_rows(values: torch.Tensor, rows: int) -> torch.Tensor:
    """The first rows of each of the three classes, which have equally many."""
    return values.unflatten(0, (3, -1))[:, :rows].flatten(0, 1)


FORMS = [
    {},
    {"image_optimizer": "adam", "image_average": 0.9},
    {"parameterization": "tiles-2", "init": "noise"},
    {"parameterization": "frequency-4-2", "bits": 32, "init": "noise"},
    {"parameterization": "frequency-4-2", "bits": 4, "init": "noise", "batch_synthetic": 2},
    {"bits": 6, "nested": True},
    {"pool": 1, "pool_epochs": 1, "soft_labels": True, "label_weight": 1.0},
]


@pytest.mark.parametrize("settings", FORMS)
def test_old_images_come_first_bit_for_bit_and_new_ones_are_optimized(tmp_path, settings):
    base = make(tmp_path / "base", **settings)
    longer = extend(tmp_path / "base", tmp_path / "longer")
    loaded = DistilledDataset.load(tmp_path / "longer")
    for name, values in base.stored.items():
        assert torch.equal(first_rows(longer.stored[name], 2), values)
        assert torch.equal(first_rows(loaded.stored[name], 2), values)
    per_class = len(base) // 3
    assert torch.equal(first_rows(loaded.images, per_class), base.images)
    if base.soft_labels is not None:
        assert torch.equal(first_rows(loaded.soft_labels, per_class), base.soft_labels)
    if settings.get("bits", 32) < 32:
        most = 2 ** (settings["bits"] - 1) - 1
        for name, step in base.parameterization.steps.items():
            assert torch.equal(loaded.parameterization.steps[name], step)
            assert (loaded.stored[name] / step).abs().max() <= most
    assert longer.per_class.tolist() == [2 * per_class] * 3
    for name, value in settings.items():
        assert longer.settings[name] == value
    short = extend(tmp_path / "base", steps=1)
    assert any(not torch.equal(short.stored[name], values) for name, values in longer.stored.items())


def test_the_first_step_is_that_of_a_run_that_begins_with_old_and_new_images(tmp_path, monkeypatch):
    """With the old images as initial images, a usual run of the whole size moves the new ones alike."""
    base = make(tmp_path / "base", image_momentum=0.0)

    def beginning(*given: Any, **options: Any) -> torch.Tensor:
        images = initial_images(*given, **options).unflatten(0, (3, 4)).clone()
        images[:, :2] = base.images.unflatten(0, (3, 2))
        return images.flatten(0, 1)

    longer = extend(tmp_path / "base", steps=1)
    monkeypatch.setattr(running, "initial_images", beginning)
    usual = go(data=DATA, ipc=4, steps=1, image_momentum=0.0)
    new = [image for image in range(12) if image % 4 >= 2]
    assert torch.equal(longer.images[new], usual.images[new])
    assert not torch.equal(longer.images, usual.images)


def test_new_images_begin_with_other_real_ones(tmp_path):
    make(tmp_path / "base", steps=1, image_lr=1e-9)
    images = extend(tmp_path / "base", steps=1).images
    assert len({tuple(image.flatten().mul(100).round().tolist()) for image in images}) == 12


def test_a_set_in_bytes_keeps_its_rounding(tmp_path):
    settings = {"ipc": None, "bytes": 150, "pictures": 2, "parameterization": "frequency-4-2"}
    base = make(tmp_path / "base", **settings)
    longer = extend(tmp_path / "base", tmp_path / "longer", ipc=None, pictures=3)
    loaded = DistilledDataset.load(tmp_path / "longer")
    assert torch.equal(first_rows(loaded.stored["coefficients"], 2), base.stored["coefficients"])
    assert loaded.parameterization.steps.keys() == base.parameterization.steps.keys()
    assert all(
        torch.equal(step, loaded.parameterization.steps[name]) for name, step in base.parameterization.steps.items()
    )
    assert 3 * (loaded.settings["bytes"] - 1) < loaded.stored_bytes <= 3 * loaded.settings["bytes"]
    assert (loaded.settings["pictures"], loaded.settings["bytes"]) == (3, longer.settings["bytes"])
    with pytest.raises(ConfigError, match=r"a set of 150 bytes a class.*2 pictures of a class, give `pictures`"):
        extend(tmp_path / "base", ipc=5)


def test_a_budget_grows_by_class(tmp_path):
    data = toy_dataset((12, 4, 6))
    base = go(tmp_path / "base", data=data, ipc=None, budget=7, steps=2)
    longer = extend(tmp_path / "base", data=data, ipc=None, budget=11, steps=2)
    had, has = base.per_class.tolist(), longer.per_class.tolist()
    assert sum(has) == 11
    for label, count in enumerate(had):
        assert torch.equal(longer.images[longer.labels == label][:count], base.images[base.labels == label])


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, stop_at):
    make(tmp_path / "base")
    whole = extend(tmp_path / "base", tmp_path / "whole")
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        extend(tmp_path / "base", tmp_path / "cut")
    stop_at(0)
    resumed = extend(tmp_path / "base", tmp_path / "cut", resume=True)
    assert torch.equal(resumed.images, whole.images)
    assert resumed.history == whole.history


def test_a_set_that_changed_in_between_is_noticed(tmp_path, stop_at):
    make(tmp_path / "base")
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        extend(tmp_path / "base", tmp_path / "cut")
    stop_at(0)
    (tmp_path / "base").rename(tmp_path / "moved")
    make(tmp_path / "base", seed=1)
    with pytest.raises(ArtifactError, match=r"another set than when the run in .*cut began"):
        extend(tmp_path / "base", tmp_path / "cut", resume=True)


def test_a_set_that_was_moved_in_between_is_found_where_it_is(tmp_path, stop_at):
    make(tmp_path / "base")
    whole = extend(tmp_path / "base")
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        extend(tmp_path / "base", tmp_path / "cut")
    stop_at(0)
    (tmp_path / "base").rename(tmp_path / "moved")
    assert torch.equal(extend(tmp_path / "moved", tmp_path / "cut", resume=True).images, whole.images)
    assert load_config(tmp_path / "cut")["settings"]["extend"] == str(tmp_path / "moved")


def test_record_and_card_say_what_was_extended(tmp_path):
    make(tmp_path / "base")
    extend(tmp_path / "base", tmp_path / "longer", method="dm")
    extended = load_config(tmp_path / "longer")["record"]["extended"]
    assert {name: extended[name] for name in ("folder", "images", "classes", "steps")} == {
        "folder": str(tmp_path / "base"),
        "images": 6,
        "classes": 3,
        "steps": 3,
    }
    card = (tmp_path / "longer" / CARD_FILE).read_text()
    assert "made by DM in 4 steps which added images to the 6 of base, left as they are" in " ".join(card.split())


def test_settings_are_those_of_the_set_or_given(tmp_path):
    make(tmp_path / "base", image_lr=3.0, seed=5, spatial_power=2.0)
    given = {"ipc": 3, "extend": tmp_path / "base", "image_momentum": 0.1}
    plan = plan_distillation(DATA, given)
    settings = plan.all_settings
    assert (settings["image_lr"], settings["seed"], settings["spatial_power"]) == (3.0, 5, 2.0)
    assert (settings["width"], settings["image_momentum"], settings["steps"]) == (8, 0.1, 3)
    assert plan.origins["image_lr"] == plan.origins["spatial_power"] == "extended set"
    assert plan.origins["ipc"] == plan.origins["image_momentum"] == "given"
    of_another = plan_distillation(DATA, {**given, "method": "dm"}).all_settings
    assert (of_another["image_lr"], of_another["seed"], of_another["preprocess"]) == (1.0, 5, "normalize")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ipc": 2}, "stores 2 for each class already, and this run 2: to add images, give a larger `ipc`"),
        ({"ipc": 1}, "stores 2 for each class already, and this run 1"),
        ({"preprocess": "zca"}, "`preprocess=zca`, not normalize: what is added has the form of"),
        ({"bits": 8, "parameterization": "tiles-2"}, "`parameterization=tiles-2`, not pixels, `bits=8`, not 32"),
        ({"method": "random"}, "random chooses real images anew: `extend` is for methods that optimize"),
        ({"data": toy_dataset((9, 9))}, "another data set, toy: toy has 18 training images, not 26, and"),
        ({"ipc": None}, "Give either `ipc`"),
        ({"ipc": None, "bytes": 900, "parameterization": "pixels"}, "`bytes` needs a `parameterization` of"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, given, told):
    make(tmp_path / "base", steps=1)
    with pytest.raises((ConfigError, ArtifactError), match=told):
        extend(tmp_path / "base", **given)


def test_a_set_of_images_is_not_extended_by_bytes(tmp_path):
    make(tmp_path / "base", steps=1, parameterization="frequency-8-4")
    for size in ({"ipc": None, "bytes": 900, "pictures": 40}, {"ipc": 9, "preset": "best"}):
        with pytest.raises(ConfigError, match="images, whose form stays as it is: extend it by images"):
            extend(tmp_path / "base", **size)


def test_an_imported_or_unfinished_set_is_refused(tmp_path, stop_at):
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        make(tmp_path / "cut")
    stop_at(0)
    with pytest.raises(ArtifactError, match="the run is not finished"):
        extend(tmp_path / "cut")
    make(tmp_path / "base", steps=1)
    config = load_config(tmp_path / "base")
    config["record"]["imported"] = {"files": ["x.pt"], "format": "pt"}
    (tmp_path / "base" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ArtifactError, match="was imported"):
        extend(tmp_path / "base")


@pytest.mark.parametrize("method", ["dm", "dsa"])
def test_other_methods_extend_too(tmp_path, monkeypatch, method):
    monkeypatch.setattr(gradient_matching, "turns", lambda _images: (2, 1))
    base = make(tmp_path / "base", method=method, steps=1)
    longer = extend(tmp_path / "base", ipc=3, steps=1)
    assert longer.settings["method"] == method
    assert torch.equal(first_rows(longer.images, 2), base.images)


def test_an_extended_set_is_extended_again(tmp_path):
    base = make(tmp_path / "base", steps=1)
    second = extend(tmp_path / "base", tmp_path / "second", ipc=3, steps=1)
    third = extend(tmp_path / "second", ipc=5, steps=1)
    assert torch.equal(first_rows(third.images, 3), second.images)
    assert torch.equal(first_rows(third.images, 2), base.images)
    assert SETTINGS["width"] == third.settings["width"]


def test_none_is_no_set_to_extend(tmp_path):
    plain = plan_distillation(DATA, {"ipc": 1, "extend": None, "add_classes": None})
    assert (plain.extension, plain.settings.extended_run) == (None, None)
    make(tmp_path / "base")
    plan = plan_distillation(DATA, {"ipc": 4, "extend": str(tmp_path / "base"), "add_classes": None})
    assert plan.extension is not None

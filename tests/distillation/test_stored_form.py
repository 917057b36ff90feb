"""Runs that store low frequencies, rounded values, or a number of bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import load_values
from atom_distill.base.errors import ConfigError, InterruptedRunError
from atom_distill.base.packing import pack
from atom_distill.distillation.run_state import load_newest_checkpoint
from atom_distill.distillation.step import MatchingStep
from atom_distill.distillation.stored_form import refit_is_due
from atom_distill.ops.parameterization import Quantized
from atom_distill.report.reading import read_run
from distillation.toys import SETTINGS, go, losses, toy_dataset

FAST = {"image_optimizer": "adam", "image_average": 0.5}
BYTES = {"ipc": None, "bytes": 150, "pictures": 6, **FAST}
FORMS = {
    "frequency": {"parameterization": "frequency-4-2", **FAST},
    "frequency in float32": {"parameterization": "frequency-4-2", "bits": 32, **FAST},
    "pixels of 4 bits": {"bits": 4},
    "tiles of 6 bits": {"parameterization": "tiles-2", "bits": 6, "image_average": 0.5},
    "bytes": BYTES,
}


def size_in_file(folder):
    """Bytes of all tensors but the int64 labels of values that are not packed."""
    total = 0
    for name in ("distilled", "preprocessing"):
        with safe_open(folder / f"{name}.safetensors", framework="np") as file:
            total += sum(file.get_tensor(key).nbytes for key in file.keys() if key != "labels")  # noqa: SIM118
    return total


@pytest.mark.parametrize("name", FORMS)
def test_what_is_loaded_is_what_the_run_made_resumed_or_not(name, tmp_path, stop_at):
    settings = FORMS[name]
    whole = go(tmp_path / "whole", **settings)
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "run", **settings)
    state = load_newest_checkpoint(tmp_path / "run")
    assert ("deviations" in state.form) == ("frequency" in name or "bytes" in name)
    stop_at(0)
    resumed = go(tmp_path / "run", resume=True, **settings)
    loaded = DistilledDataset.load(tmp_path / "run")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    for found in (resumed, loaded):
        assert torch.equal(found.images, whole.images)
        assert torch.equal(found.labels, whole.labels)
        assert found.stored_bytes == whole.stored_bytes == size_in_file(tmp_path / "run")
    assert isinstance(loaded.parameterization, Quantized) == ("float32" not in name)


@pytest.mark.parametrize("name", FORMS)
def test_networks_saw_in_the_first_step_what_the_random_baseline_holds(name, monkeypatch):
    chosen = go(method="random", **FORMS[name])
    seen, gradients = [], MatchingStep.gradients

    def watched(self, stored, step):
        seen.append(self.parameterization.decode(stored).detach())
        return gradients(self, stored, step)

    monkeypatch.setattr(MatchingStep, "gradients", watched)
    run = go(**FORMS[name])
    assert type(run.parameterization) is type(chosen.parameterization)
    torch.testing.assert_close(seen[0], chosen.images, rtol=0, atol=1e-5)
    assert not torch.equal(run.images, chosen.images)


def test_networks_see_values_rounded_as_a_file_of_that_moment_would_be(tmp_path):
    go(tmp_path, **{**BYTES, "image_average": 0.0, "image_lr": 0.2}, steps=20, checkpoint_every=16)
    sizes = []
    for step in (16, 20):  # the rounding was fitted after 16 steps, and not since
        tensors = load_file(tmp_path / f"checkpoint-{step:06d}.safetensors")
        values = tensors["stored.coefficients"] * tensors["form.deviations"]
        counts = (values / tensors["form.step.coefficients"]).round().to(torch.int32)
        sizes.append(len(pack(counts.flatten(0, 1))) + 2 + 24)  # the step and the transform
    assert 0.95 * 450 < sizes[0] <= 450 < sizes[1]


@pytest.mark.parametrize("name", ["bytes", "pixels of 4 bits"])
def test_a_run_that_is_continued_with_more_steps_equals_a_longer_one(name, tmp_path):
    longer = go(tmp_path / "longer", **{**FORMS[name], "steps": 20})
    go(tmp_path / "run", **{**FORMS[name], "steps": 12})
    continued = go(tmp_path / "run", resume=True, **{**FORMS[name], "steps": 20})
    assert torch.equal(continued.images, longer.images)


def test_the_rounding_is_fitted_about_twice_as_the_steps_double():
    assert [step for step in range(1, 100) if refit_is_due(step)] == [8, 12, 16, 24, 32, 48, 64, 96]


def test_beside_a_set_whose_rounding_stays_larger_values_are_seen_clipped(tmp_path, monkeypatch):
    form = {"parameterization": "frequency-4-2", "bits": 4, **FAST, "image_lr": 1.0}
    data = toy_dataset((24, 24, 24))
    go(tmp_path / "base", data=data, **form)
    seen = []
    images = Quantized.images
    monkeypatch.setattr(Quantized, "images", lambda self, values: seen.append(values) or images(self, values))
    more = go(tmp_path / "more", data=data, extend=str(tmp_path / "base"), ipc=3, steps=30, **form)
    steps = more.parameterization.steps["coefficients"]
    counts = [(values["coefficients"] / steps).abs().max() for values in seen]
    assert max(counts).item() == pytest.approx(7)
    assert len(counts) >= 30


@pytest.mark.parametrize("name", FORMS)
def test_the_report_decodes_the_checkpoint_of_a_stopped_run(name, tmp_path, stop_at):
    data = toy_dataset()
    five = go(data=data, **{**FORMS[name], "steps": 5})
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        go(tmp_path, data=data, **FORMS[name])
    view = read_run(tmp_path, lambda _: data)
    assert view.images.shape == five.images.shape
    off = (view.images - five.images).square().mean().sqrt()  # that run has fitted its steps again
    assert off < 0.15 * five.images.std()
    assert view.labels.tolist() == five.labels.tolist()


def test_all_that_is_counted_keeps_the_size(tmp_path):
    for index, size in enumerate((60, 150, 400)):
        tiny = go(tmp_path / str(index), **{**BYTES, "bytes": size})
        assert 0.9 * 3 * size < tiny.stored_bytes <= 3 * size
        assert tiny.stored_bytes == size_in_file(tmp_path / str(index))
        assert (len(tiny), tiny.ipc) == (18, 6)
        assert tiny.images_per_stored == max(1, 6 * 3 * 64 / size)


def test_the_best_set_keeps_the_size_too(tmp_path):
    data = toy_dataset((20, 20, 20))
    go(tmp_path, data=data, **BYTES, eval_every=4, eval_epochs=1, holdout=0.2)
    best = DistilledDataset.load(tmp_path, "best")
    assert 0.9 * 450 < best.stored_bytes <= 450
    assert torch.isfinite(best.images).all()


def test_more_bytes_are_nearer_to_the_real_pictures():
    data = toy_dataset()
    errors = []
    for size in (60, 200, 600):
        chosen = go(data=data, method="random", **{**BYTES, "bytes": size, "parameterization": "frequency-8-8"})
        indices = chosen.record["selection"]["indices"]
        real = chosen.preprocessing.apply(data.train.images[indices])
        errors.append(float((chosen.images - real).square().mean()))
    assert errors[0] > 1.2 * errors[1] > 1.2 * 1.2 * errors[2]


def test_the_file_has_integers_steps_and_no_labels(tmp_path):
    go(tmp_path, parameterization="frequency-4-2", bits=4, method="random")
    with safe_open(tmp_path / "distilled.safetensors", framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["atom-distill"])
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {
        "packed.coefficients": np.uint8,
        "step.coefficients": np.float16,
    }
    assert facts["packed"] == {"coefficients": [3, 8, 24]}
    assert facts["rows_per_class"] == [1, 1, 1]
    values = load_values(tmp_path, "last")
    in_steps = values.stored["coefficients"].numpy() / tensors["step.coefficients"].astype(np.float32)
    assert np.array_equal(in_steps, in_steps.round())
    assert abs(in_steps).max() == 7


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bytes": 5}, "a size of 5 bytes per class, 15 in all, is less than the transform .24 bytes."),
        ({"bytes": 10}, "`bytes=10` leaves 6 bytes .* which take [0-9]+ at least: give more, or fewer `pictures`"),
        ({"preprocess": "zca"}, "less than the transform .74880 bytes. alone"),
        ({"bits": 8}, "give `bytes` or `bits`"),
        ({"ipc": 1}, "either `ipc` .* or `budget` .* or `bytes`"),
        ({"parameterization": "tiles-2"}, "`bytes` needs a `parameterization` of frequencies"),
        ({"pictures": 10}, "pictures 10 is more than the 9 training images .* `pictures=9` or less, or `init` noise"),
        ({"bytes": None, "ipc": 1}, "give `bytes`, or `ipc` without `pictures`"),
        ({"method": "dc"}, "give `ipc`"),
    ],
)
def test_sizes_that_cannot_be_kept_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        go(**{**BYTES, **settings})


def test_a_size_that_holds_nothing_is_refused_before_anything_is_written(tmp_path):
    for size in range(9, 15):
        with pytest.raises(ConfigError, match="at least: give more"):
            go(tmp_path / "run", **{**BYTES, "bytes": size})
    assert not (tmp_path / "run").exists()
    least = 15
    while True:  # the smallest size that is accepted is kept
        try:
            tiny = go(tmp_path / "run", **{**BYTES, "bytes": least, "method": "random"})
            break
        except ConfigError:
            least += 1
    assert tiny.stored_bytes <= 3 * least
    assert any(bool(values.any()) for values in tiny.stored.values())


def test_defaults_follow_from_the_size_and_the_images():
    unset = dict.fromkeys(("ipc", "preprocess"))
    tiny = go(method="random", **{**SETTINGS, **unset, "bytes": 200})
    assert tiny.settings["parameterization"] == "frequency-6-3"
    assert tiny.settings["preprocess"] == "normalize"
    assert tiny.settings["pictures"] == 4  # 200 / 85 * 16, but half of the images at most
    assert tiny.stored["coefficients"].shape == (12, 1, 54)


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((3, 8, 8), {"parameterization": "frequency-4-2"}),
        ((3, 8, 12), {"parameterization": "frequency-3", "bits": 16}),
        ((1, 8, 8), {"parameterization": "frequency-5"}),
        ((3, 8, 8), {"ipc": None, "bytes": 500, "pictures": 5}),
    ],
)
def test_the_decoder_on_the_card_works_as_it_stands(shape, form, tmp_path, monkeypatch):
    tiny = go(tmp_path, data=toy_dataset(tuple([30] * 3), shape=shape), method="random", **form)
    card = (tmp_path / "README.md").read_text()
    code = card.split("Without atom-distill")[1].split("```python\n")[1].split("```")[0]
    assert "atom_distill" not in code
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(code, scope)
    torch.testing.assert_close(scope["images"], tiny.images, atol=1e-5, rtol=1e-5)
    assert torch.equal(scope["labels"], tiny.labels)


def test_cards_of_other_sets_have_no_decoder(tmp_path):
    go(tmp_path, method="random")
    card = (tmp_path / "README.md").read_text()
    assert "Without atom-distill" not in card
    # 576 values of 4 bytes, a mean and a deviation of each channel; 27 real images of 192 bytes
    assert "| stored | 576 values in 2,328 bytes: 3 pictures, 2.2 times smaller than the real images |" in card

"""Whole runs in this process: what they compute, what they write, and what they refuse."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from atom_distill.base.errors import (
    ArtifactError,
    AtomError,
    ConfigError,
    UnknownNameError,
)
from atom_distill.base.folder_lock import locked
from atom_distill.base.network_shape import NetworkShape
from atom_distill.distillation import planning
from atom_distill.distillation.step import MatchingStep
from atom_distill.models.build import build_model
from distillation.toys import go, losses, toy_dataset


def stored_images(folder: Path) -> Tensor:
    return load_file(folder / "distilled.safetensors")["images"]


def test_same_seed_same_result_and_another_seed_another():
    first, again, other = go(), go(), go(seed=1)
    assert torch.equal(first.images, again.images)
    assert [entry["loss"] for entry in first.history] == [entry["loss"] for entry in again.history]
    assert not torch.allclose(first.images, other.images)


def test_the_images_move_and_the_loss_falls():
    data = toy_dataset((30, 30, 30))
    before = go(data=data, steps=1, image_lr=1e-9, init="noise").images
    after = go(data=data, steps=60, init="noise", batch_real=30)
    assert float((after.images - before).norm()) > 0.1
    history = [entry["loss"] for entry in after.history]
    assert sum(history[-10:]) < 0.9 * sum(history[:10])


def test_a_run_leaves_a_complete_folder(tmp_path):
    distilled = go(tmp_path / "run", ipc=2)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "README.md",
        "checkpoint-000006.safetensors",
        "checkpoint-000008.safetensors",
        "config.yaml",
        "distilled.safetensors",
        "grid.png",
        "images",
        "metrics.jsonl",
        "preprocessing.safetensors",
        "scores.json",
        "snapshots.safetensors",
    }
    assert distilled.steps == 8
    assert distilled.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(stored_images(tmp_path / "run"), distilled.images)
    assert [step for step, _ in losses(tmp_path / "run")] == list(range(1, 9))


def test_no_folder_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert go().folder is None
    assert list(tmp_path.iterdir()) == []


def test_settings_left_to_the_machine_are_recorded_as_decided(tmp_path):
    settings = go(tmp_path / "run", device="auto", compile="auto", real_dtype="auto", chunk=0).settings
    assert settings["compile"] in ("on", "off")
    assert settings["real_dtype"] in ("float32", "bfloat16")
    assert settings["synthetic_dtype"] == "float32"
    assert settings["chunk"] > 0
    assert settings["device"] != "auto"


def test_a_folder_in_use_is_refused(tmp_path):
    go(tmp_path / "run")
    with pytest.raises(ArtifactError, match=r"already holds a run.*`resume`.*`out`"):
        go(tmp_path / "run")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("...")
    for resume in (False, True):
        with pytest.raises(ArtifactError, match="is not empty and holds no run"):
            go(tmp_path / "letters", resume=resume)
    (tmp_path / "file").write_text("...")
    with pytest.raises(ArtifactError, match="is a file"):
        go(tmp_path / "file")


def test_a_folder_that_another_process_writes_to_is_refused(tmp_path):
    go(tmp_path / "run")
    (tmp_path / "new").mkdir()
    for name, resume in (("run", True), ("new", False), ("new", True)):
        with locked(tmp_path / name) as held:
            assert held
            with pytest.raises(ArtifactError, match=r"another process is writing to .*`out`"):
                go(tmp_path / name, resume=resume)
    go(tmp_path / "new")
    assert (tmp_path / "new" / "README.md").exists()


def test_a_run_that_another_process_finishes_while_this_one_waits_is_not_overwritten(tmp_path, monkeypatch):
    @contextmanager
    def finished_meanwhile(folder: Path) -> Iterator[bool]:
        shutil.copytree(tmp_path / "theirs", folder, dirs_exist_ok=True)
        yield True

    go(tmp_path / "theirs", seed=1)
    monkeypatch.setattr("atom_distill.artifact.folder.locked", finished_meanwhile)
    with pytest.raises(ArtifactError, match="already holds a run"):
        go(tmp_path / "mine")
    assert torch.equal(stored_images(tmp_path / "mine"), stored_images(tmp_path / "theirs"))


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"ipc": 0}, ConfigError, "`ipc` must .*1, got 0"),
        ({"ipc": 10}, ConfigError, "ipc 10 .*9 .*'class 0'"),
        ({"method": "atum"}, UnknownNameError, "method 'atum'.*'atom'"),
        ({"arch": "covnet"}, UnknownNameError, "architecture 'covnet'.*'convnet'"),
        ({"depth": 9}, ConfigError, "depth 9 pools 8x8 images to nothing"),
        ({"imagelr": 1}, UnknownNameError, "setting 'imagelr'.*'image_lr'"),
        ({"augment": "flip_blur"}, ConfigError, "unknown operation 'blur'"),
        ({"device": "nonsense"}, ConfigError, "device 'nonsense' is not available here"),
        ({"ipc": 5, "parameterization": "tiles-2"}, ConfigError, "ipc 5 of 4 images each is .*use `ipc=2` or less"),
        (
            {"ipc": 1, "parameterization": "tiles-4"},
            ConfigError,
            "ipc 1 of 16 images each .*use another `param",
        ),
        ({"method": "dm", "task_balance": 0.0}, ConfigError, "nothing is left to match: .*`task_balance` above 0"),
    ],
)
def test_wrong_settings_are_refused_before_a_folder_is_made(tmp_path, changes, kind, told):
    with pytest.raises(kind) as caught:
        go(tmp_path / "run", **changes)
    assert re.search(told, str(caught.value))
    assert isinstance(caught.value, AtomError)
    assert not (tmp_path / "run").exists()


def test_a_network_without_a_layer_to_match_is_told():
    with pytest.raises(ConfigError, match=r"nothing is left to match: .*a deeper network"):
        go(method="datadam", depth=1, embedding=False)


def test_more_images_than_a_class_has_are_fine_from_noise():
    assert len(go(ipc=10, init="noise", steps=1)) == 30


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
def test_other_norms_run(norm):
    assert torch.isfinite(go(norm=norm, steps=2).images).all()


def test_another_architecture_matches():
    first = go(arch="vit", width=64, depth=2, init="real", steps=1)
    second = go(arch="vit", width=64, depth=2, init="real", steps=3)
    assert torch.isfinite(second.images).all()
    assert not torch.equal(first.images, second.images)


def test_batch_norm_that_nobody_asked_for_sees_the_whole_batch(monkeypatch):
    def build(name, image_shape, num_classes, shape):
        return build_model(name, image_shape, num_classes, NetworkShape(width=4, depth=2, norm="batch"))

    monkeypatch.setattr(planning, "build_model", build)
    chunks = []
    step = MatchingStep.__call__
    monkeypatch.setattr(MatchingStep, "__call__", lambda self, *rest: (chunks.append(self.chunk), step(self, *rest))[1])
    go(steps=1, chunk=2, ipc=2, batch_real=5)
    go(steps=1, chunk=2, ipc=2, batch_real=5, norm="batch")
    assert chunks == 2 * [3 * (5 + 2)]  # at least all real images, and all synthetic ones


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"method": "random", "image_lr": 2.0, "depth": 2},
            "batch_real, checkpoint_every, compile, depth, image_lr, steps, width",
        ),
        (
            {"method": "herding", "eval_every": 3, "holdout": 0.3},
            "herding has no use for batch_real, checkpoint_every, ",
        ),
        ({"method": "dc", "spatial_power": 2.0, "batch_real": 4}, "dc has no use for spatial_power"),
        ({"method": "atom", "selection_epochs": 3}, "atom has no use for selection_epochs"),
        (
            {"method": "dm", "spatial_power": 2.0, "channel_power": 2.0},
            "dm has no use for channel_power, spatial_power",
        ),
        ({"method": "datadam", "channel_power": 2.0, "eval_epochs": 2}, "no use for channel_power, eval_epochs"),
        ({"embedding": False, "task_balance": 2.0}, "atom has no use for task_balance"),
        ({"method": "k-means", "depth": 2}, "k-means has no use for batch_real, checkpoint_every, compile, steps"),
    ],
)
def test_settings_that_a_method_has_no_use_for_are_told(capsys, settings, told):
    go(**{"steps": 1, **settings})
    assert told in capsys.readouterr().err


def test_settings_that_count_are_not_told_as_unused(capsys):
    for method in ("atom", "dc"):
        go(method=method, steps=1)
    go(steps=1, task_balance=2.0, spatial_power=2.0, eval_every=1, eval_epochs=1, holdout=0.3)
    assert "no use for" not in capsys.readouterr().err


def test_a_selection_chooses_from_all_images_whatever_is_held_out_for_others():
    data = toy_dataset((2, 2, 2))
    chosen, again = (go(data=data, method="random", ipc=2, eval_every=every).images for every in (0, 1))
    assert torch.equal(chosen, again)


def test_gradients_of_a_transformer_are_matched():
    first, second = (go(method="dc", arch="vit", width=64, depth=1, steps=steps).images for steps in (1, 2))
    assert torch.isfinite(second).all()
    assert not torch.equal(first, second)


@pytest.mark.parametrize("method", ["random", "herding"])
def test_a_selection_of_more_than_there_is_is_refused_before_a_folder_is_made(tmp_path, method):
    with pytest.raises(
        ConfigError,
        match=r"ipc 6 .*5 .*'class 1'.*`ipc=5`",
    ):
        go(tmp_path / "run", data=toy_dataset((9, 5, 9)), method=method, ipc=6)
    assert not (tmp_path / "run").exists()


def test_tensorboard_files_are_written_where_they_are_asked_for(tmp_path):
    pytest.importorskip("tensorboard")
    go(tmp_path / "without", steps=1)
    go(tmp_path / "with", steps=1, tensorboard=True)
    assert not (tmp_path / "without" / "tensorboard").exists()
    assert list((tmp_path / "with" / "tensorboard").iterdir())

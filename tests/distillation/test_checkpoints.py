"""Checkpoints: which are kept, and what happens where one is damaged or would hold nonsense."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import (
    ArtifactError,
    InterruptedRunError,
    NonFiniteError,
)
from atom_distill.distillation import optimize as optimizing
from atom_distill.distillation.loop import Loop
from atom_distill.distillation.run_state import Best, RunState, checkpoints, load_newest_checkpoint, save_checkpoint
from atom_distill.distillation.step import MatchingStep
from distillation.toys import go, losses


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:100], lambda data: data[:-1], lambda _: b"", lambda data: data[:-1] + bytes([data[-1] ^ 1])],
)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(tmp_path, stop_at, capsys, damage):
    whole = go(tmp_path / "whole")
    stop_at(6)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut")
    newest = checkpoints(tmp_path / "cut")[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    stop_at(0)
    assert torch.equal(go(tmp_path / "cut", resume=True).images, whole.images)
    assert f"checkpoint {newest} is damaged" in capsys.readouterr().err
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_no_readable_checkpoint_is_an_error_and_not_a_new_start(tmp_path, stop_at):
    stop_at(6)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut")
    for path in checkpoints(tmp_path / "cut"):
        path.write_bytes(path.read_bytes()[:-1])
    stop_at(0)
    with pytest.raises(ArtifactError, match=r"no checkpoint in .*cut can be read"):
        go(tmp_path / "cut", resume=True)


def test_two_checkpoints_are_kept_and_one_is_enough_to_go_on(tmp_path):
    images, buffer, average, best = torch.rand(4, 2, 1, 4, 4)
    per_class = torch.tensor([1, 1])
    best = Best({"images": best}, 1, 12.5)
    state = RunState(
        1,
        {"images": images},
        {"images.momentum_buffer": buffer},
        {"images": average},
        best,
        images_per_class=per_class,
    )
    for step in (9, 10, 1_000_000):
        save_checkpoint(tmp_path, replace(state, step=step))
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-000010.safetensors",
        "checkpoint-1000000.safetensors",
    ]
    loaded = load_newest_checkpoint(tmp_path)
    assert loaded.step == 1_000_000
    assert torch.equal(loaded.stored["images"], images)
    assert torch.equal(loaded.optimizer["images.momentum_buffer"], buffer)
    assert torch.equal(loaded.average["images"], average)
    assert (loaded.best.step, loaded.best.accuracy) == (1, 12.5)
    assert torch.equal(loaded.best.stored["images"], state.best.stored["images"])
    assert torch.equal(loaded.images_per_class, per_class)


def test_a_checkpoint_of_version_0_1_is_read(tmp_path):
    """It held images alone, under names without a prefix."""
    images, buffer, average, best = torch.rand(4, 2, 1, 4, 4)
    tensors = {"images": images, "average": average, "best_images": best, "optimizer.momentum_buffer": buffer}
    metadata = {"state": '{"step": 7, "seconds": 1.5, "best_step": 3, "best_accuracy": 50.0}'}
    save_file(tensors, tmp_path / "checkpoint-000007.safetensors", metadata=metadata)
    state = load_newest_checkpoint(tmp_path)
    assert (state.step, state.seconds, state.best.step, state.best.accuracy) == (7, 1.5, 3, 50.0)
    assert torch.equal(state.stored["images"], images)
    assert torch.equal(state.average["images"], average)
    assert torch.equal(state.best.stored["images"], best)
    assert torch.equal(state.optimizer["images.momentum_buffer"], buffer)
    assert state.images_per_class is None


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        pytest.param({"images": torch.rand(2, 1, 4, 4), "momentum": torch.rand(2, 1, 4, 4)}, {"state": '{"step": 5}'}),
        pytest.param({"images": torch.rand(2, 1, 4, 4)}, None),
    ],
    ids=["of another format", "without its metadata"],
)
def test_a_checkpoint_that_is_not_understood_gives_way(tmp_path, capsys, tensors, metadata):
    save_checkpoint(tmp_path, RunState(3, {"images": torch.rand(2, 1, 4, 4)}))
    save_file(tensors, tmp_path / "checkpoint-000005.safetensors", metadata=metadata)
    assert load_newest_checkpoint(tmp_path).step == 3
    assert "checkpoint-000005.safetensors is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["stored", "average", "optimizer"])
def test_a_checkpoint_of_other_rows_gives_way(tmp_path, capsys, part):
    images = {"images": torch.rand(2, 1, 4, 4)}
    save_checkpoint(tmp_path, RunState(3, images))
    other = {"images.exp_avg": torch.rand(3, 1, 4, 4), "images.step": torch.tensor(5.0)}
    more = {"stored": {"images": torch.rand(3, 1, 4, 4)}, "optimizer": other, "average": {"images": torch.rand(1)}}
    save_checkpoint(tmp_path, replace(RunState(5, images), **{part: more[part]}))
    assert load_newest_checkpoint(tmp_path, 2).step == 3
    assert "is not of 2 rows" in capsys.readouterr().err


def test_a_checkpoint_without_rows_gives_way(tmp_path, capsys):
    save_checkpoint(tmp_path, RunState(3, {"images": torch.rand(2, 1, 4, 4)}))
    save_checkpoint(tmp_path, RunState(5, {"images": torch.rand(0, 1, 4, 4)}))
    assert load_newest_checkpoint(tmp_path).step == 3
    assert "it has no stored values" in capsys.readouterr().err


def test_a_checkpoint_put_aside_is_left_alone(tmp_path):
    state = RunState(3, {"images": torch.rand(2, 1, 4, 4)})
    save_checkpoint(tmp_path, state)
    (tmp_path / "checkpoint-before-lunch.safetensors").write_bytes(b"")
    assert load_newest_checkpoint(tmp_path).step == 3


def test_without_checkpoints_only_the_end_is_saved(tmp_path):
    go(tmp_path / "run", checkpoint_every=0)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-000008.safetensors"]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    explode_after(monkeypatch, 5)
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"nan at step 6.*.*-000004"):
        go(folder)
    assert [path.name[11:17] for path in checkpoints(folder)] == ["000002", "000004"]
    assert torch.isfinite(load_newest_checkpoint(folder).stored["images"]).all()
    assert not (folder / "distilled.safetensors").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"checkpoint_every": 0},
        {"eval_every": 4, "eval_epochs": 1},
        {"arch": "convnet+vit", "width": 64, "depth": 2},  # which have terms of their own
        {"arch": "convnet+vit", "width": 64, "depth": 2, "method": "dm", "checkpoint_every": 0},
        {"parameterization": "frequency-4-2", "bits": 4, "steps": 20},
    ],
)
def test_losses_that_are_read_every_few_steps_change_nothing(settings, tmp_path, monkeypatch):
    go(tmp_path / "each", **settings)
    monkeypatch.setattr(optimizing, "Loop", lambda **given: Loop(**{**given, "read_every": 3}))  # as on a GPU
    go(tmp_path / "some", **settings)
    each, some = (DistilledDataset.load(tmp_path / name) for name in ("each", "some"))
    assert some.history == each.history
    assert torch.equal(some.images, each.images)


def test_a_loss_that_is_read_late_is_not_finite_either(tmp_path, monkeypatch):
    monkeypatch.setattr(optimizing, "Loop", lambda **given: Loop(**{**given, "read_every": 3}))
    explode_after(monkeypatch, 4)
    with pytest.raises(NonFiniteError, match=r"nan at step 5.*-000004"):
        go(tmp_path / "run", checkpoint_every=4)
    assert load_newest_checkpoint(tmp_path / "run").step == 4


def test_images_that_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(NonFiniteError, match=r"at step \d; there is no checkpoint yet.*`image_lr` \(now 1e\+38\)"):
        go(tmp_path / "run", image_lr=1e38, checkpoint_every=3)
    assert checkpoints(tmp_path / "run") == []


def explode_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    matching = MatchingStep.__call__

    def call(self, stored: dict[str, Tensor], step: int) -> Tensor:
        loss = matching(self, stored, step)
        return loss if step < steps else loss * torch.nan

    monkeypatch.setattr(MatchingStep, "__call__", call)

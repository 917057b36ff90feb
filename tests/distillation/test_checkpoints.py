"""Checkpoints: which are kept, and what happens where one is damaged or would hold nonsense."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atom_distill.base.errors import (
    ArtifactError,
    InterruptedRunError,
    NonFiniteError,
)
from atom_distill.distillation import run as run_module
from atom_distill.distillation.run_state import Best, RunState, checkpoints, load_newest_checkpoint, save_checkpoint
from distillation.toys import go, losses


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: data[:-1], lambda _: b""])
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
    state = RunState(1, images, {"momentum_buffer": buffer}, average, Best(best, 1, 12.5))
    for step in (9, 10, 1_000_000):
        save_checkpoint(tmp_path, replace(state, step=step))
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-000010.safetensors",
        "checkpoint-1000000.safetensors",
    ]
    loaded = load_newest_checkpoint(tmp_path)
    assert loaded.step == 1_000_000
    assert torch.equal(loaded.images, state.images)
    assert torch.equal(loaded.optimizer["momentum_buffer"], buffer)
    assert torch.equal(loaded.average, average)
    assert (loaded.best.step, loaded.best.accuracy) == (1, 12.5)
    assert torch.equal(loaded.best.images, state.best.images)


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        pytest.param({"images": torch.rand(2, 1, 4, 4), "momentum": torch.rand(2, 1, 4, 4)}, {"state": '{"step": 5}'}),
        pytest.param({"images": torch.rand(2, 1, 4, 4)}, None),
    ],
    ids=["of another format", "without its metadata"],
)
def test_a_checkpoint_that_is_not_understood_gives_way(tmp_path, capsys, tensors, metadata):
    save_checkpoint(tmp_path, RunState(3, torch.rand(2, 1, 4, 4)))
    save_file(tensors, tmp_path / "checkpoint-000005.safetensors", metadata=metadata)
    assert load_newest_checkpoint(tmp_path).step == 3
    assert "checkpoint-000005.safetensors is damaged" in capsys.readouterr().err


def test_a_checkpoint_put_aside_is_left_alone(tmp_path):
    state = RunState(3, torch.rand(2, 1, 4, 4))
    save_checkpoint(tmp_path, state)
    (tmp_path / "checkpoint-before-lunch.safetensors").write_bytes(b"")
    assert load_newest_checkpoint(tmp_path).step == 3


def test_without_checkpoints_only_the_end_is_saved(tmp_path):
    go(tmp_path / "run", checkpoint_every=0)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-000008.safetensors"]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    explode_after(monkeypatch, 5)
    folder = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"the loss became nan at step 6; the last good checkpoint is .*-000004"):
        go(folder)
    assert [path.name[11:17] for path in checkpoints(folder)] == ["000002", "000004"]
    assert torch.isfinite(load_newest_checkpoint(folder).images).all()
    assert not (folder / "distilled.safetensors").exists()


def test_images_that_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(NonFiniteError, match=r"at step \d; there is no checkpoint yet.*--image-lr, now 1e\+38"):
        go(tmp_path / "run", image_lr=1e38, checkpoint_every=3)
    assert checkpoints(tmp_path / "run") == []


def explode_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    matching = run_module.MatchingStep.__call__

    def call(self, images: Tensor, step: int) -> Tensor:
        loss = matching(self, images, step)
        return loss if step < steps else loss * torch.nan

    monkeypatch.setattr(run_module.MatchingStep, "__call__", call)

"""Stopping and going on: equal to never having stopped, and refused where it would not be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from atom_distill.api import distill
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import load_config, save_config
from atom_distill.artifact.scores import Score
from atom_distill.base.errors import (
    ArtifactError,
    ConfigError,
    InterruptedRunError,
)
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.distillation.run_state import load_newest_checkpoint
from atom_distill.distillation.step import MatchingStep
from atom_distill.training.pool import Pool
from distillation.toys import go, losses, toy_dataset


@pytest.mark.parametrize("stop", [2, 3, 4, 7])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, stop_at, stop):
    whole = go(tmp_path / "whole")
    stop_at(stop)
    with pytest.raises(InterruptedRunError, match=rf"stopped after step {stop}, .*--resume .*--out {tmp_path}/cut"):
        go(tmp_path / "cut")
    assert not (tmp_path / "cut" / "distilled.safetensors").exists()
    stop_at(0)
    resumed = go(tmp_path / "cut", resume=True)
    assert torch.equal(resumed.images, whole.images)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert resumed.history == whole.history


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"image_momentum": 0.0}, set()),
        ({"image_momentum": 0.9}, {"momentum_buffer"}),
        ({"image_optimizer": "adam"}, {"step", "exp_avg", "exp_avg_sq"}),
        ({"image_average": 0.9}, {"momentum_buffer"}),
        ({"preset": "fast"}, {"step", "exp_avg", "exp_avg_sq"}),
    ],
)
def test_the_optimizer_and_the_average_are_part_of_what_is_resumed(tmp_path, stop_at, settings, kept):
    whole = go(tmp_path / "whole", **settings)
    stop_at(4)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut", **settings)
    state = load_newest_checkpoint(tmp_path / "cut")
    assert state.step == 4
    assert set(state.optimizer) == {f"images.{name}" for name in kept}
    assert (state.average is not None) == bool({"image_average", "preset"} & set(settings))
    stop_at(0)
    assert torch.equal(go(tmp_path / "cut", resume=True, **settings).images, whole.images)


@pytest.mark.parametrize("size", [{"ipc": 2}, {"budget": 6}])
def test_the_command_of_the_best_preset_resumes_its_run(tmp_path, stop_at, size):
    settings = {"ipc": None, "preset": "best", "pool_epochs": 1, **size}
    whole = go(tmp_path / "whole", **settings)
    stop_at(4)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut", **settings)
    stop_at(0)
    with pytest.raises(ArtifactError, match="bytes 384, not 192"):
        go(tmp_path / "cut", resume=True, **{**settings, "ipc": 1, "budget": None})
    assert torch.equal(go(tmp_path / "cut", resume=True, **settings).images, whole.images)
    assert go(tmp_path / "cut", resume=True, **{**settings, "preset": None}).steps == 8


@pytest.mark.parametrize("every", [0, 3])
def test_what_is_said_to_be_saved_is_saved(tmp_path, stop_at, every):
    stop_at(4)
    with pytest.raises(InterruptedRunError, match="stopped after step 4, which is saved in"):
        go(tmp_path / "cut", checkpoint_every=every)
    assert load_newest_checkpoint(tmp_path / "cut").step == 4


def test_resuming_needs_no_settings_and_takes_the_run_s_own(tmp_path, stop_at):
    whole = go(tmp_path / "whole", seed=4, method="dm", augment="flip")
    stop_at(3)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut", seed=4, method="dm", augment="flip")
    stop_at(0)
    resumed = distill(toy_dataset(), out=tmp_path / "cut", resume=True, show_progress=False)
    assert torch.equal(resumed.images, whole.images)


def test_settings_left_to_the_machine_may_be_so_again(tmp_path):
    machine = {"device": "auto", "compile": "auto", "real_dtype": "auto", "chunk": 0}
    whole = go(tmp_path / "run", **machine)
    assert torch.equal(go(tmp_path / "run", resume=True, **machine).images, whole.images)


def test_resume_starts_a_run_where_there_is_none(tmp_path):
    assert torch.equal(go(tmp_path / "new", resume=True).images, go().images)


def test_resuming_a_finished_run_does_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    whole = go(folder)
    whole.add_score(score())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = go(folder, resume=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    assert torch.equal(again.images, whole.images)
    assert again.scores == [score()]
    assert "is finished: it has its 8 steps" in capsys.readouterr().err


def test_more_steps_equal_a_longer_run_and_keep_the_scores(tmp_path):
    long = go(tmp_path / "long", steps=11)
    go(tmp_path / "run").add_score(score())
    longer = go(tmp_path / "run", steps=11, resume=True)
    assert torch.equal(longer.images, long.images)
    assert longer.steps == 11
    assert losses(tmp_path / "run") == losses(tmp_path / "long")
    assert DistilledDataset.load(tmp_path / "run").settings["steps"] == 11
    assert DistilledDataset.load(tmp_path / "run").scores == [score()]


def test_a_finish_cut_short_is_finished_on_resume(tmp_path, monkeypatch):
    go(tmp_path / "run")
    (tmp_path / "run" / "grid.png").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr("atom_distill.artifact.distilled.save_images", fail)
        with pytest.raises(OSError, match="disk full"):
            go(tmp_path / "run", steps=9, resume=True)
    assert load_file(tmp_path / "run" / "distilled.safetensors")["images"].shape[0] == 3
    go(tmp_path / "run", steps=9, resume=True)
    assert (tmp_path / "run" / "grid.png").read_bytes() != b"old"


def fail(*_: object) -> None:
    raise OSError("disk full")


def test_fewer_steps_than_are_done_are_refused(tmp_path):
    go(tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_bytes()
    with pytest.raises(ArtifactError, match="has done 8 steps already; give `steps` 8 or more"):
        go(tmp_path / "run", steps=5, resume=True)
    assert (tmp_path / "run" / "config.yaml").read_bytes() == config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"method": "dm"}, "method atom, not dm"),
        ({"ipc": 2}, "ipc 1, not 2"),
        ({"image_lr": 0.5, "width": 16}, "width 8, not 16, image_lr 1.0, not 0.5"),
    ],
)
def test_resuming_with_other_settings_is_refused(tmp_path, changes, told):
    go(tmp_path / "run", real_dtype="float32")
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    with pytest.raises(ArtifactError, match=f"holds another run \\({told}\\)"):
        go(tmp_path / "run", resume=True, **changes)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*")) == before


def test_a_run_moves_to_another_precision_with_a_note(tmp_path, capsys):
    go(tmp_path / "run", real_dtype="float32", steps=2)
    moved = go(tmp_path / "run", resume=True, real_dtype="bfloat16", steps=4)
    assert "another real_dtype" in capsys.readouterr().err
    assert moved.settings["real_dtype"] == "bfloat16"
    assert moved.steps == 4


def test_resuming_on_another_data_set_is_refused(tmp_path):
    go(tmp_path / "run")
    with pytest.raises(ArtifactError, match="was started on another data set, toy"):
        go(tmp_path / "run", data=toy_dataset((7, 7, 7)), resume=True)


def test_resume_needs_a_folder():
    with pytest.raises(ConfigError, match="`resume` needs the run's folder"):
        go(resume=True)


def test_a_line_cut_short_in_the_metrics_is_written_again(tmp_path, stop_at):
    go(tmp_path / "whole")
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "cut")
    metrics = tmp_path / "cut" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 6, "loss": 1.0}\n{"step": 7, "lo')
    stop_at(0)
    go(tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_damaged_scores_are_told_before_the_first_step(tmp_path):
    go(tmp_path / "run")
    (tmp_path / "run" / "scores.json").write_text("[")
    with pytest.raises(ArtifactError, match=r"scores\.json is damaged"):
        go(tmp_path / "run", resume=True, steps=9)
    assert load_newest_checkpoint(tmp_path / "run").step == 8


def score() -> Score:
    return Score(
        subject="distilled",
        dataset="toy",
        preprocess="normalize",
        steps=8,
        images=3,
        ipc=1,
        arch="convnet",
        shape={},
        protocol=PROTOCOLS.get("dm"),
        seed=0,
        runs=(50.0, 60.0),
        seconds=1.0,
    )


def test_the_seconds_of_all_parts_are_counted(tmp_path, monkeypatch):
    def a_second_a_step(self: MatchingStep, stored: dict[str, torch.Tensor], step: int) -> torch.Tensor:
        clock[0] += 1
        return matching(self, stored, step)

    clock, matching = [0.0], MatchingStep.__call__
    monkeypatch.setattr("atom_distill.distillation.loop.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(MatchingStep, "__call__", a_second_a_step)
    assert go(tmp_path / "run", steps=3).record["seconds"] == 3
    clock[0] += 1000
    assert go(tmp_path / "run", steps=8, resume=True).record["seconds"] == 8
    record = DistilledDataset.load(tmp_path / "run").record
    assert (record["seconds"], record["run_seconds"]) == (8, 8)


def test_the_seconds_of_a_pool_are_not_those_of_the_run(tmp_path, monkeypatch):
    clock, load = [0.0], Pool.train

    def train(self: Pool, *arguments: Any, **options: Any) -> None:
        load(self, *arguments, **options)
        clock[0] += 1000

    monkeypatch.setattr("atom_distill.distillation.run.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(Pool, "train", train)
    monkeypatch.setattr(Pool, "seconds", lambda _: 77.0)
    record = go(tmp_path / "run", steps=1, pool=1, pool_epochs=1, networks="snapshot").record
    assert (record["run_seconds"], record["pool_seconds"]) == (0, 77)
    assert "pool_seconds" not in go(tmp_path / "other", steps=1).record


def test_a_finished_run_whose_transform_is_lost_gets_it_back(tmp_path):
    made = go(tmp_path / "run")
    (tmp_path / "run" / "preprocessing.safetensors").unlink()
    assert torch.equal(go(tmp_path / "run", resume=True).images, made.images)
    assert DistilledDataset.load(tmp_path / "run").preprocessing.kind == made.preprocessing.kind


def test_resuming_with_another_torch_or_machine_is_noted(tmp_path, stop_at, capsys):
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "run")
    stop_at(0)
    config = tmp_path / "run" / "config.yaml"
    stored = load_config(tmp_path / "run")
    save_config(tmp_path / "run", **{**stored, "record": {**stored["record"], "torch": "1.2.3", "machine": "a pocket"}})
    written = config.read_text()
    go(tmp_path / "run", resume=True)
    told = capsys.readouterr().err
    assert f"torch {torch.__version__}, not 1.2.3" in told
    assert "not a pocket" in told
    assert "threads" not in told
    assert "torch: 1.2.3" in written
    assert load_config(tmp_path / "run")["record"]["torch"] == "1.2.3"


def test_resuming_where_the_run_was_started_is_not_noted(tmp_path, stop_at, capsys):
    stop_at(2)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "run")
    stop_at(0)
    go(tmp_path / "run", resume=True)
    assert "resuming with" not in capsys.readouterr().err

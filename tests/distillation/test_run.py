"""Whole runs in this process: what they write, what they refuse, and that going on equals never having stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score
from atom_distill.base.errors import (
    ArtifactError,
    AtomError,
    ConfigError,
    InterruptedRunError,
    NonFiniteError,
    UnknownNameError,
)
from atom_distill.config.protocol import PROTOCOLS
from atom_distill.distillation import run as run_module
from atom_distill.distillation.optimizer import ImageOptimizer, RunningAverage
from atom_distill.distillation.state import Best, RunState, checkpoints, load_newest_checkpoint, save_checkpoint
from atom_distill.models.registry import NetworkShape, build_model
from distillation.toys import go, toy_dataset


def losses(folder: Path) -> list[tuple[int, float]]:
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(entry["step"], entry["loss"]) for entry in entries]


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
    names = {path.name for path in (tmp_path / "run").iterdir()} - {"tensorboard"}
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
    assert settings["chunk"] > 0
    assert settings["device"] != "auto"


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
    assert set(state.optimizer) == kept
    assert (state.average is not None) == bool({"image_average", "preset"} & set(settings))
    stop_at(0)
    assert torch.equal(go(tmp_path / "cut", resume=True, **settings).images, whole.images)


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
    resumed = run_module.run(toy_dataset(), {}, out=tmp_path / "cut", resume=True, judge=None, show_progress=False)
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
    with pytest.raises(ArtifactError, match="has done 8 steps already; give --steps 8 or more"):
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
    with pytest.raises(ConfigError, match="--resume needs the run's folder"):
        go(resume=True)


def test_a_folder_in_use_is_refused(tmp_path):
    go(tmp_path / "run")
    with pytest.raises(ArtifactError, match="already holds a run: go on with it by --resume, or give another --out"):
        go(tmp_path / "run")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("...")
    for resume in (False, True):
        with pytest.raises(ArtifactError, match="is not empty and holds no run"):
            go(tmp_path / "letters", resume=resume)
    (tmp_path / "file").write_text("...")
    with pytest.raises(ArtifactError, match="is a file"):
        go(tmp_path / "file")


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


def test_damaged_scores_are_told_before_the_first_step(tmp_path):
    go(tmp_path / "run")
    (tmp_path / "run" / "scores.json").write_text("[")
    with pytest.raises(ArtifactError, match=r"scores\.json is damaged"):
        go(tmp_path / "run", resume=True, steps=9)
    assert load_newest_checkpoint(tmp_path / "run").step == 8


def test_the_average_is_the_result(monkeypatch):
    """Against a weighted sum of all states of the images, written out."""
    seen: list[Tensor] = []
    update = RunningAverage.update

    def watched(self: RunningAverage, images: Tensor) -> Tensor | None:
        seen.append(images.detach().clone())
        return update(self, images)

    monkeypatch.setattr(RunningAverage, "update", watched)
    result = go(image_average=0.8).images
    steps = len(seen)
    weights = [0.8 ** (steps - 1)] + [0.2 * 0.8 ** (steps - step) for step in range(2, steps + 1)]
    assert sum(weights) == pytest.approx(1)
    want = sum(weight * images.double() for weight, images in zip(weights, seen, strict=True))
    torch.testing.assert_close(result, want.float())
    last = seen[-1]
    assert not torch.allclose(result, last)
    assert torch.equal(go().images, last)  # averaging does not disturb the steps


def test_adam_moves_the_images_as_its_formula_says(monkeypatch):
    before: list[tuple[Tensor, Tensor]] = []
    step = ImageOptimizer.step

    def watched(self: ImageOptimizer) -> None:
        before.append((self._images.detach().double(), self._images.grad.double()))
        step(self)

    monkeypatch.setattr(ImageOptimizer, "step", watched)
    result = go(image_optimizer="adam", image_lr=0.03, image_momentum=0.6).images
    images, first, second = before[0][0], 0, 0
    for count, (_, gradient) in enumerate(before, start=1):
        first = 0.6 * first + 0.4 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        images = images - 0.03 * (first / (1 - 0.6**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
    assert len(before) == 8
    torch.testing.assert_close(result, images.float(), rtol=0, atol=1e-4)


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


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"ipc": 0}, ConfigError, "ipc: Input should be greater than or equal to 1, got 0"),
        ({"ipc": 10}, ConfigError, "ipc 10 is more than the 9 training images of class 'class 0'"),
        ({"method": "atum"}, UnknownNameError, "unknown method 'atum'. Did you mean 'atom'"),
        ({"arch": "covnet"}, UnknownNameError, "unknown architecture 'covnet'. Did you mean 'convnet'"),
        ({"depth": 9}, ConfigError, "depth 9 pools a 8x8 image away"),
        ({"imagelr": 1}, UnknownNameError, "unknown setting 'imagelr'. Did you mean 'image_lr'"),
        ({"augment": "flip_blur"}, ConfigError, "unknown operation 'blur'"),
        ({"device": "nonsense"}, ConfigError, "device 'nonsense' is not available here"),
    ],
)
def test_wrong_settings_are_refused_before_a_folder_is_made(tmp_path, changes, kind, told):
    with pytest.raises(kind) as caught:
        go(tmp_path / "run", **changes)
    assert told in str(caught.value)
    assert isinstance(caught.value, AtomError)
    assert not (tmp_path / "run").exists()


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

    monkeypatch.setattr(run_module, "build_model", build)
    chunks = []
    step = run_module.MatchingStep.__call__
    monkeypatch.setattr(
        run_module.MatchingStep, "__call__", lambda self, *rest: (chunks.append(self.chunk), step(self, *rest))[1]
    )
    go(steps=1, chunk=2, ipc=2, batch_real=5)
    assert chunks == [3 * 5]


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

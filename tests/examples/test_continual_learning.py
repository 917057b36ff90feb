"""The example of continual learning: what its memories hold, and what it measures, keeps, and concludes."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import atom_distill as ad
from atom_distill.base.errors import ConfigError

FILE = Path(__file__).parents[2] / "examples" / "continual_learning.py"
SMALL = [
    *("digits", "--tasks", "2", "--bytes", "128", "--preset", "fast", "--steps", "2"),
    *("--epochs", "1", "--whole-epochs", "1", "--width", "4", "--device", "cpu"),
]
EVEN, ODD = ["0", "2", "4", "6", "8"], ["9", "7", "5", "3", "1"]


@pytest.fixture
def example() -> dict[str, Any]:
    return runpy.run_path(str(FILE))


def test_tasks_part_the_classes(example):
    names = [f"class {label}" for label in range(100)]
    tasks = example["tasks_of"](names, 10, 0)
    assert [len(task) for task in tasks] == [10] * 10
    assert sorted(name for task in tasks for name in task) == sorted(names)
    assert tasks == example["tasks_of"](names, 10, 0) != example["tasks_of"](names, 10, 1)
    assert [len(task) for task in example["tasks_of"](names[:10], 4, 0)] == [3, 3, 2, 2]


@pytest.mark.parametrize("tasks", [0, 6])
def test_a_task_has_two_classes(example, tasks):
    with pytest.raises(ConfigError, match=f"`tasks={tasks}`.*1 to 5 tasks"):
        example["tasks_of"](list("0123456789"), tasks, 0)


def test_a_memory_has_one_model_space_and_the_labels_of_all_tasks(example):
    """Chosen real images, of two normalizations, against the pixels themselves in the first."""
    tasks = [ad.load_dataset("digits", classes=names) for names in (EVEN, ODD)]
    sets = [ad.distill(task, ipc=2, method="random", device="cpu", show_progress=False) for task in tasks]
    assert not torch.equal(*(one.preprocessing.tensors()["mean"] for one in sets))
    chosen = [one.record["selection"]["indices"] for one in sets]
    pixels = [task.train.images[indices] for task, indices in zip(tasks, chosen, strict=True)]
    memory = example["joined"](sets)
    torch.testing.assert_close(memory.images, sets[0].preprocessing.apply(torch.cat(pixels)), rtol=1e-4, atol=1e-4)
    seen = ad.load_dataset("digits", classes=EVEN + ODD)
    assert [seen.class_names[label] for label in memory.labels] == [name for name in EVEN + ODD for _ in range(2)]


def test_without_a_memory_only_the_newest_classes_are_trained_on(example):
    seen = ad.load_dataset("digits", classes=EVEN + ODD)
    newest = example["newest_only"](seen, 5)
    assert newest.class_sizes().tolist() == [0] * 5 + seen.class_sizes().tolist()[5:]
    assert newest.test is seen.test
    assert newest.fingerprint != seen.fingerprint


def test_memories_are_compared_over_all_tasks(example):
    def found(*steps: tuple[int, int, float]) -> dict[str, dict[str, float]]:
        return {
            f"task {number}": {"classes": 5 * number, "bytes": size, "made_in": seconds, "mean": mean}
            for number, (size, seconds, mean) in enumerate(steps, start=1)
        }

    rows = example["compare"](
        {"distilled": found((500, 30, 90), (1000, 70, 60)), "none": found((0, 0, 80), (0, 0, 40))}
    )
    assert [(row["bytes_per_class"], row["average"]) for row in rows] == [(100, 75), (0, 60)]
    assert example["table"](rows).splitlines() == [
        "| memory | bytes per class | made in | 5 classes | 10 classes | average |",
        "| --- | --- | --- | --- | --- | --- |",
        "| distilled | 100 | 70 s | 90.0 | 60.0 | 75.0 |",
        "| none | 0 | 0 s | 80.0 | 40.0 | 60.0 |",
    ]


@pytest.mark.slow
def test_it_runs_in_small_and_continues(example, tmp_path, capsys):
    out, runs = tmp_path / "results.json", tmp_path / "runs"
    command = [*SMALL, "--runs", str(runs), "--out", str(out)]
    assert example["main"](command) == 0
    first = json.loads(out.read_text())
    sizes = {memory: [step["bytes"] for step in found.values()] for memory, found in first["measured"].items()}
    assert list(sizes) == ["distilled", "random", "uncompressed", "none", "all"]
    for memory in ("distilled", "random"):
        assert 0 < sizes[memory][0] <= 5 * 128
        assert sizes[memory][0] < sizes[memory][1] <= 10 * 128
    assert sizes["uncompressed"] == [5 * 128, 10 * 128]  # two images of 64 bytes
    assert sizes["none"] == [0, 0]
    assert sizes["all"][1] == 64 * len(ad.load_dataset("digits").train)
    assert first["measured"]["distilled"]["task 2"]["images"] == first["measured"]["random"]["task 2"]["images"] > 20
    (of_task,) = runs.glob("distilled-*-task-2-of-2")
    assert ad.DistilledDataset.load(of_task).class_names == tuple(first["tasks"][1])
    del first["measured"]["distilled"]["task 2"]
    out.write_text(json.dumps(first))
    capsys.readouterr()
    assert example["main"](command) == 0
    printed = capsys.readouterr()
    assert [line for line in printed.err.splitlines() if line.endswith(" %")] == [
        f"distilled, task 2: {json.loads(out.read_text())['measured']['distilled']['task 2']['mean']:.1f} %"
    ]
    assert printed.out.startswith("| memory |")
    assert printed.out.count("\n| ") == 6


def test_a_trial_run_has_memories_of_its_own(example, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(ad, "distill", lambda *_, out, **__: made.append(out.name))
    plan = example["Plan"]("digits", 2, 128, "fast", None, 1, 1, 1, None, 0)
    for changes in ({}, {"steps": 2}, {"width": 4}, {"preset": "best"}):
        learner = example["Learner"](replace(plan, **changes), tmp_path, "cpu")
        learner.stored("distilled", 0)
        learner.stored("random", 0)
    assert len(set(made[::2])) == 4
    assert set(made[1::2]) == {"random-bytes-128-seed-0-method-random-task-1-of-2"}


def test_results_of_another_plan_are_kept(example, tmp_path, capsys):
    out = tmp_path / "results.json"
    out.write_text('{"plan": {"dataset": "cifar100"}, "measured": {}}')
    assert example["main"]([*SMALL, "--runs", str(tmp_path / "runs"), "--out", str(out)]) == 2
    assert "holds results of another plan: give another --out" in capsys.readouterr().err
    assert "cifar100" in out.read_text()


def test_bytes_below_an_image_leave_uncompressed_out(example, tmp_path):
    plan = example["Plan"]("digits", 2, 63, "fast", 2, 1, 1, 1, 4, 0)
    assert "uncompressed" not in example["Learner"](plan, tmp_path, "cpu").memories()


def test_an_unknown_data_set_is_told(example, tmp_path, capsys):
    assert example["main"](["cifar101", "--out", str(tmp_path / "results.json")]) == 2
    assert "cifar100" in capsys.readouterr().err

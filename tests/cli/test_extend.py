"""A finished run is extended from the command line."""

from __future__ import annotations

import json

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset

QUICK = "--steps 2 --width 8 --batch-real 8 --compile off --device cpu"


@pytest.fixture
def run(atom, tmp_path):
    assert atom(f"distill digits --method dm --ipc 1 {QUICK} --out", tmp_path / "run").code == 0
    return tmp_path / "run"


def test_a_damaged_file_of_settings_is_blamed_on_the_option_that_names_it(atom, run):
    (run / "config.yaml").write_text("a: [")
    for option in ("--extend", "--add-classes", "--add_classes"):
        answer = atom(f"distill digits {option} {run} --ipc 2")
        assert answer.code == 2
        assert f"{option.replace('_', '-')} {run}/config.yaml cannot be read" in answer.err


def test_images_are_added(atom, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = atom("distill digits --extend run --ipc 2 --image-lr 2 --dry-run --json")
    assert plan.code == 0, plan.err
    planned = json.loads(plan.out)
    assert (planned["settings"]["method"], planned["settings"]["width"]) == ("dm", 8)
    assert (planned["origin"]["width"], planned["origin"]["image_lr"]) == ("extended set", "option")
    answer = atom("distill digits --extend run --ipc 2 --device cpu --task-balance 0.02")
    assert answer.code == 0, answer.err
    base, longer = (DistilledDataset.load(tmp_path / name) for name in ("run", "runs/run-ipc2"))
    assert torch.equal(longer.images[::2], base.images)
    assert longer.settings["task_balance"] == 0.02


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("distill digits --extend {run} --ipc 1", "give a larger --ipc"),
        ("distill digits --extend {run} --ipc 2 --preprocess zca", "--preprocess zca, not normalize"),
        ("distill digits --extend nowhere --ipc 2", "nowhere is not a run folder"),
        ("distill digits --extend {run}", "Give either --ipc"),
    ],
)
def test_what_does_not_fit_is_refused(refused, run, line, told):
    assert told in refused(line.format(run=run))


def test_classes_are_added(atom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert atom(f"distill digits --classes 9 --method dm --ipc 1 {QUICK} --out nine").code == 0
    answer = atom("distill digits --add-classes nine --device cpu")
    assert answer.code == 0, answer.err
    base, whole = (DistilledDataset.load(tmp_path / name) for name in ("nine", "runs/nine-more-classes"))
    assert torch.equal(whole.images[:9], base.images)
    assert (len(whole), whole.settings["method"], whole.settings["width"]) == (10, "dm", 8)

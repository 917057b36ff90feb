"""`atom evaluate` as people and scripts use it."""

from __future__ import annotations

import numpy as np
import pytest

from atom_distill.artifact.scores import load_scores
from atom_distill.base.errors import NonFiniteError
from atom_distill.evaluation import train_and_test

EVALUATE = "--epochs 3 --repeats 2 --width 8 --device cpu"


def test_evaluate_for_scripts(atom, run_folder):
    answer = atom(f"evaluate {EVALUATE} --json", run_folder)
    assert answer.code == 0, answer.err
    facts = answer.json
    assert len(facts["runs"]) == 2
    assert facts["mean"] == pytest.approx(np.mean(facts["runs"]))
    assert facts["std"] == pytest.approx(np.std(facts["runs"], ddof=1))
    assert facts["protocol"] == "dm(epochs=3)"
    assert facts["protocol_settings"]["epochs"] == 3
    assert (facts["subject"], facts["dataset"], facts["images"]) == ("distilled", "digits", 10)
    (score,) = load_scores(run_folder)
    assert list(score.runs) == facts["runs"]
    assert "dm(epochs=3)" in (run_folder / "README.md").read_text()


def test_several_architectures_give_a_list(atom, run_folder):
    shape = EVALUATE.replace("--width 8", "")
    answer = atom(f"evaluate {shape} --json --arch convnet vit convnet --repeats 1", run_folder)
    assert [score["arch"] for score in answer.json["scores"]] == ["convnet", "vit"]  # each once
    assert [score.arch for score in load_scores(run_folder)] == ["convnet", "vit"]
    for saved, told in zip(load_scores(run_folder), answer.json["scores"], strict=True):
        alone = atom(f"evaluate {shape} --json --arch {saved.arch} --repeats 1", run_folder)
        assert alone.json["runs"] == list(saved.runs) == told["runs"]


def test_the_scores_before_a_failure_are_saved(atom, run_folder, monkeypatch):
    train, trained = train_and_test.train, []

    def failing(*args, **options):
        if trained:
            raise NonFiniteError("network 1 diverged")
        trained.append(train(*args, **options))

    monkeypatch.setattr(train_and_test, "train", failing)
    answer = atom(f"evaluate {EVALUATE.replace('--width 8', '')} --arch convnet vit --repeats 1", run_folder)
    assert (answer.code, "vit: network 1 diverged" in answer.err) == (2, True)
    assert [score.arch for score in load_scores(run_folder)] == ["convnet"]


def test_evaluate_prints_a_table(atom, run_folder):
    answer = atom(f"evaluate {EVALUATE}", run_folder)
    assert answer.code == 0
    for part in ("test accuracy on digits, percent; protocol dm(epochs=3)", "distilled 10 images", "+-"):
        assert part in answer.out


def test_random_references(atom, run_folder):
    by_name = atom(f"evaluate digits --random --ipc 1 {EVALUATE} --json")
    assert by_name.code == 0, by_name.err
    assert (by_name.json["subject"], by_name.json["images"]) == ("random", 10)
    beside_a_run = atom(f"evaluate {EVALUATE} --random --json", run_folder)
    assert beside_a_run.json["runs"] == by_name.json["runs"]  # ipc and preprocessing are the run's
    assert [score.subject for score in load_scores(run_folder)] == ["random"]

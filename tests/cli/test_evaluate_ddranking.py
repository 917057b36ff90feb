"""`atom evaluate --ddranking` as people and scripts use it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from atom_distill.artifact.scores import load_scores

TRAINING = "--epochs 25 --lr 0.1 --repeats 2 --width 8 --device cpu"
RANK = f"evaluate --ddranking {TRAINING}"


def normalized(points: np.ndarray) -> np.ndarray:
    """Percent of the share of e^x between e^-1 and e^1."""
    return 100 * np.interp(np.exp(points / 100), [np.exp(-1), np.exp(1)], [0, 1])


def test_for_scripts(atom, run_folder):
    answer = atom(f"{RANK} --whole-epochs 1 --json", run_folder)
    assert answer.code == 0, answer.err
    facts = answer.json
    of = {name: np.array(reference["runs"]) for name, reference in facts["references"].items()}
    assert [len(runs) for runs in of.values()] == [2] * 5
    assert not np.array_equal(of["distilled"], of["random"])
    assert not np.array_equal(of["distilled"], of["distilled_plain"])
    assert facts["hlr"]["mean"] == pytest.approx(of["whole"].mean() - of["distilled"].mean())
    assert facts["ior"]["mean"] == pytest.approx(of["distilled"].mean() - of["random"].mean())
    recovered = of["distilled"] - of["random"] / 2 - of["whole"] / 2
    assert facts["lrs"]["mean"] == pytest.approx(normalized(recovered).mean())
    gained = (of["distilled"] - of["random"] + of["distilled_plain"] - of["random_plain"]) / 2
    assert facts["ars"]["mean"] == pytest.approx(normalized(gained).mean())
    protocols = {name: reference["protocol"] for name, reference in facts["references"].items()}
    assert protocols == {
        "distilled": "dm(epochs=25,lr=0.1)",
        "random": "dm(epochs=25,lr=0.1)",
        "distilled_plain": "dm(epochs=25,lr=0.1,augment=none)",
        "random_plain": "dm(epochs=25,lr=0.1,augment=none)",
        "whole": "dm(epochs=1,lr=0.1)",
    }
    assert json.loads((run_folder / "ddranking.json").read_text()) == [facts]
    kept = {(score.subject, score.protocol.name): score.runs for score in load_scores(run_folder)}
    assert kept[("distilled", protocols["distilled"])] == tuple(of["distilled"])
    assert kept[("distilled", protocols["distilled_plain"])] == tuple(of["distilled_plain"])


def test_it_is_the_plain_commands_put_together(atom, run_folder):
    """Scores of `atom evaluate` are taken as they are, and are what it would have trained."""
    runs = {
        f"{subject}{plain}": atom(f"evaluate {TRAINING} {option} {augment} --json", run_folder).json["runs"]
        for subject, option in (("distilled", ""), ("random", "--random"))
        for plain, augment in (("", ""), ("_plain", "--augment none"))
        if (subject, plain) != ("random", "")
    }
    answer = atom(f"{RANK} --whole-accuracy 90 --json", run_folder)
    assert answer.err.count("scored before, not trained again") == 3
    assert "random set, protocol dm(epochs=25,lr=0.1): 2 networks" in answer.err
    references = answer.json["references"]
    assert {name: references[name]["runs"] for name in runs} == runs
    by_itself = atom(f"evaluate {TRAINING} --random --json", run_folder).json["runs"]
    assert references["random"]["runs"] == by_itself
    assert references["whole"] == {"runs": [90], "protocol": None, "precision": None, "mean": 90, "std": 0}


def test_for_people(atom, run_folder):
    answer = atom("evaluate --ddranking --epochs 1 --repeats 1 --width 8 --device cpu --whole-accuracy 90", run_folder)
    assert answer.code == 0, answer.err
    for part in ("test accuracy on digits, percent", "given", "dm(epochs=1,augment=none)", "HLR", "IOR", "LRS", "ARS"):
        assert part in answer.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--ddranking --random", "--ddranking .*random.*whole"),
        ("--ddranking --whole", "--random.*--whole"),
        ("--ddranking --ipc 2", "--ipc .*--random"),
        ("--ddranking --whole-accuracy 90 --whole-epochs 3", "--whole-accuracy.*--whole-epochs"),
        ("--whole-accuracy 90", "--whole-accuracy.*--whole-epochs.*--ddranking"),
        ("--whole --whole-epochs 3", "--whole-accuracy.*--whole-epochs.*--ddranking"),
        ("--ddranking --whole-accuracy 100.5", "above 1 and at most 100, got 100.5"),
        ("--ddranking --whole-accuracy -1", "above 1 and at most 100, got -1"),
        ("--ddranking --whole-accuracy nan", "above 1 and at most 100, got nan"),
        ("--ddranking --whole-epochs 0", "--whole-epochs .*1, got 0"),
        ("--ddranking --augment none", "--augment none"),
    ],
)
def test_refusals(refused, run_folder, options, told):
    before = (run_folder / "scores.json").read_text()
    assert re.search(told, refused(f"evaluate {options}", run_folder))
    assert (run_folder / "scores.json").read_text() == before


def test_a_data_set_is_not_ranked(refused):
    assert "digits is a data set" in refused("evaluate digits --ddranking")


def test_a_damaged_file_is_found_before_the_training(refused, run_folder):
    (run_folder / "ddranking.json").write_text("[{")
    assert "ddranking.json is damaged" in refused(RANK, run_folder)

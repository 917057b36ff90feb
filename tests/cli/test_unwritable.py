"""Folders that cannot be written: the option that names another one, before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from atom_distill.artifact.scores import load_scores

QUICK = "--steps 2 --width 8 --batch-real 8 --compile off --device cpu"


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("data digits", "--sheet"),
        (f"distill digits --ipc 1 {QUICK}", "--out"),
        ("report RUN", "--out"),
        ("watch RUN", "--out"),
        ("export RUN --to npz --out set.npz", "--out"),
        ("export RUN --to imagefolder --out pictures", "--out"),
        ("import RUN/images --as digits --preprocess normalize", "--out"),
        ("reproduce table1 --datasets digits --effort 0.01", "--out"),
        ("search RUN --sample 2 --on process", "--out"),
    ],
)
def test_a_read_only_working_folder(refused, run_folder, read_only, line, option):
    read_only(Path.cwd())
    told = refused(line.replace("RUN", str(run_folder)))
    assert "Read-only file system" in told
    assert option in told
    assert "Errno" not in told


def test_a_run_to_resume_that_is_read_only(refused, run_folder, read_only):
    read_only(run_folder)
    told = refused(f"distill digits --resume --steps 6 {QUICK.replace('--steps 2', '')} --out", run_folder)
    assert "Read-only file system" in told
    assert "--out" in told


def test_a_score_of_a_read_only_run_is_printed_and_not_kept(atom, run_folder, read_only):
    before = load_scores(run_folder)
    read_only(run_folder)
    answer = atom("evaluate --repeats 1 --epochs 1 --device cpu --json", run_folder)
    assert answer.code == 0, answer.err
    assert len(answer.json["runs"]) == 1
    assert "score is not kept" in answer.err
    assert load_scores(run_folder) == before

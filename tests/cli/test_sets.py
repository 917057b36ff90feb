"""Sets that come with the package: listed, and taken by name where a run folder is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import bundle_set
from atom_distill.artifact import bundled
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import load_scores

SCORED = "evaluate --epochs 1 --repeats 1 --width 8 --compile off --device cpu"


@pytest.fixture
def digits_set(atom, run_folder, tmp_path, monkeypatch) -> Path:
    """A package whose only set is that of the small run on digits."""
    monkeypatch.setattr(bundled, "SETS_FOLDER", tmp_path / "sets")
    assert atom(SCORED, run_folder).code == 0
    return bundle_set.bundle(run_folder, "digits-256", tmp_path / "sets")


def test_the_list_says_what_each_set_is(atom):
    facts = {each["name"]: each for each in atom("sets --json").json["sets"]}
    assert list(facts) == bundled.bundled_names()
    first = facts["cifar10-3072"]
    assert (first["dataset"], first["images"], first["classes"]) == ("cifar10", 610, 10)
    assert 0 < first["bytes"] == DistilledDataset.load(bundled.SETS_FOLDER / "cifar10-3072").stored_bytes <= 30_720
    assert len(first["scores"]) == len(load_scores(bundled.SETS_FOLDER / "cifar10-3072"))
    out = atom("sets").out
    for name, each in facts.items():
        assert f"{name}: {each['command']}" in out
        assert f"{each['bytes']:,}" in out
        assert all(f"{score['mean']:.1f}" in out for score in each["scores"] if score["subject"] == "distilled")


def test_an_accuracy_of_one_network_has_no_deviation(atom, digits_set):
    (score,) = json.loads((digits_set / "scores.json").read_text())
    row = next(line for line in atom("sets").out.splitlines() if "digits-256" in line)
    assert f"{score['mean']:.1f} " in row
    assert "+-" not in row


def test_evaluation_prints_and_keeps_nothing(atom, digits_set):
    before = {path.name: path.read_bytes() for path in digits_set.iterdir()}
    answer = atom(f"{SCORED} --json --seed 1 digits-256")
    assert answer.code == 0, answer.err
    assert answer.json["images"] == 10
    assert {path.name: path.read_bytes() for path in digits_set.iterdir()} == before


@pytest.mark.slow
def test_ranking_and_search_take_the_name(atom, digits_set):
    answer = atom(f"{SCORED} --ddranking --whole-accuracy 90 --json digits-256")
    assert answer.code == 0, answer.err
    assert "ior" in answer.json
    assert not (digits_set / "ddranking.json").exists()
    assert atom("search --sample 1 --dry-run --json digits-256").code == 0


@pytest.mark.parametrize(("more", "out"), [("", "digits-256.npz"), (" --ipc 1", "digits-256-first-1.npz")])
def test_exports_go_to_the_working_folder(atom, digits_set, more, out):
    answer = atom(f"export --to npz{more} digits-256")
    assert answer.code == 0, answer.err
    assert Path(out).is_file()


@pytest.mark.slow
def test_a_report_shows_it_and_how_to_load_it(atom, digits_set):
    pytest.importorskip("altair", reason="reports need the extra [report]")
    answer = atom("report digits-256")
    assert answer.code == 0, answer.err
    assert "load_distilled(&#34;digits-256&#34;)" in Path("report.html").read_text("utf-8")


def test_a_run_of_that_name_takes_precedence(atom, digits_set, run_folder):
    shutil.copytree(run_folder, "digits-256")
    assert atom(f"{SCORED} --seed 1 digits-256").code == 0
    assert len(load_scores(Path("digits-256"))) == 2
    assert len(load_scores(digits_set)) == 1
    assert len(DistilledDataset.load(Path("digits-256"))) == 10


def test_what_is_neither_is_refused(refused, digits_set):
    for command in ("evaluate digits-257", "export --to pt digits-257"):
        assert "`atom sets`" in refused(command)

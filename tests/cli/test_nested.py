"""A nested run, and its first images as sets of their own: scored, shown, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import load_scores

RUN = "distill digits --ipc 3 --nested --steps 2 --width 8 --batch-real 8 --compile off --device cpu --out"
QUICK = "--repeats 1 --epochs 2 --width 8 --json"


@pytest.fixture
def run(atom, tmp_path) -> Path:
    assert atom(RUN, tmp_path / "run").code == 0
    return tmp_path / "run"


def test_the_first_images_are_scored_beside_all(atom, run, tmp_path):
    for more in ("", "--ipc 2", "--ipc 1"):
        answer = atom("evaluate", run, *f"{QUICK} {more}".split())
        assert answer.code == 0, answer.err
    scores = load_scores(run)
    assert [(score.first, score.images, score.ipc) for score in scores] == [(None, 30, 3), (2, 20, 2), (1, 10, 1)]
    assert json.loads(answer.out)["first"] == 1
    assert "| distilled, first 2 of each class | convnet (width 8) | 20 |" in (run / "README.md").read_text()
    assert atom("report", run, "--out", tmp_path / "report.html").code == 0
    assert "run, first 2" in (tmp_path / "report.html").read_text()


def test_the_first_images_are_exported(atom, run, tmp_path):
    answer = atom("export", run, "--to", "pt", "--ipc", "2")
    assert answer.code == 0, answer.err
    images, labels = torch.load(tmp_path / "run-first-2.pt", weights_only=False)["data"][0]
    whole = DistilledDataset.load(run)
    assert torch.equal(images, whole.head(2).images)
    assert labels.bincount().tolist() == [2] * 10
    size = -(-whole.head(2).stored_bytes // 10)
    assert atom("export", run, "--to", "npz", "--bytes", str(size)).code == 0
    assert (tmp_path / "run-first-2.npz").exists()
    scored = atom("evaluate", run, *QUICK.split(), "--bytes", str(size + 7)).json
    assert (scored["first"], scored["images"]) == (2, 20)
    compact = atom("export", run, "--to", "safetensors", "--ipc", "1")
    assert compact.code == 0, compact.err
    assert torch.equal(DistilledDataset.load(tmp_path / "run-first-1-safetensors").images, whole.head(1).images)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("evaluate {run} --ipc 4", "--ipc must be from 1 to 3, the images of a class here, got 4"),
        ("evaluate {run} --ipc 2 --ddranking --whole-accuracy 90", "--ipc is for --random and for the first images"),
        ("export {run} --to pt --ipc 0", "--ipc must be from 1 to 3"),
        ("export {run} --to pt --bytes 100", "--bytes must be at least "),
        ("export {run} --to pt --ipc 1 --bytes 9000", "--ipc and --bytes both say how many images: give one"),
        ("evaluate {run} --random --bytes 9000", "--bytes is for the first images of a run"),
        ("distill digits --budget 20 --nested --out {run}2", "--nested needs equally many images in each class"),
    ],
)
def test_what_cannot_be_is_refused(refused, run, line, told):
    assert told in refused(line.format(run=run))

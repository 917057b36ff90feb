"""The benchmark of nested sets: where its runs are kept."""

from __future__ import annotations

import runpy
from argparse import Namespace
from pathlib import Path

import pytest

import atom_distill as ad
from distillation.toys import toy_dataset

ROOT = Path(__file__).parents[1]


def test_runs_of_other_settings_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    run = runpy.run_path(str(ROOT / "benchmarks" / "nested.py"))["_run"]
    made = []
    monkeypatch.setattr(ad, "distill", lambda *_, out, **__: made.append(out))
    for steps, given in ((10, []), (20, []), (10, ["pool=2"]), (10, ["pool=2", "lr=1"]), (10, ["lr=1", "pool=2"])):
        run(toy_dataset((4, 4)), 1, Namespace(dataset="toy", runs=tmp_path, steps=steps, set=given))
    assert len(set(made[:4])) == 4
    assert made[3] == made[4]
    assert {out.parent for out in made} == {tmp_path}

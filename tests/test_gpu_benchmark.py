"""The session of measurements on a GPU, in small on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import load_scores
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.load import load_dataset
from atom_distill.evaluation.evaluate import Evaluation

ROOT = Path(__file__).parents[1]


@pytest.fixture
def session(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from gpu_session import Session

    return Session(tmp_path / "gpu.json", tmp_path / "runs", "cpu", True, time.time() + 60, {"card": "none"}, "part")


def part_of(limit: float):
    from gpu_session import Part

    return Part("part", lambda _: None, needs=0, limit=limit)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_case_is_measured_once_unless_it_failed(session):
    calls = []

    def measure() -> dict:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("too hot\nand more")
        return {"ms": 3}

    for _ in range(3):
        session.case("a", measure)
    assert len(calls) == 2
    assert session.cases()["a"]["ms"] == 3
    session.case("b", lambda: {}["missing"])
    assert session.cases()["b"]["error"] == "KeyError: 'missing'"
    assert json.loads(session.results.read_text())["parts"]["part"]["cases"] == session.cases()


def test_a_part_is_finished_for_its_sources_and_card_alone(session):
    session.run(part_of(60), python("pass"))
    assert session.is_finished(part_of(60))
    session.add("a", {"ms": 3})
    other = replace(session, identity={"card": "another"})
    assert not other.is_finished(part_of(60))
    other.run(part_of(60), python("raise SystemExit(3)"))
    state = other.content()["parts"]["part"]
    assert state["state"].startswith("failed")
    assert state["cases"] == {}  # those of the other card do not stand beside new ones


def test_a_part_is_stopped_with_what_it_started(session, tmp_path):
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(tmp_path / 'late')!r}).touch()"
    started = time.monotonic()
    session.run(part_of(0.5), python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"))
    assert session.content()["parts"]["part"]["state"] == "out of time"
    time.sleep(max(0.0, 3.5 - (time.monotonic() - started)))
    assert not (tmp_path / "late").exists()


def test_parts_without_time_are_listed(session):
    import gpu
    from gpu_session import Part

    late = replace(session, small=False, ends=time.time() + 30)
    not_run = gpu.run_parts(late, [Part("paper", lambda _: None, needs=120, limit=400)])
    assert not_run.keys() == {"paper"}
    assert "needs 120 s" in gpu.table({}, not_run)
    assert late.content()["not_run"] == not_run


def test_seconds_in_which_several_overlap_count_once(session):
    import gpu_sets

    assert gpu_sets._busy([(10, 12), (0, 4), (1, 2), (3, 5)]) == 7


@pytest.mark.slow
def test_a_session_in_small(tmp_path):
    """Its networks are those of one evaluation, also if it is killed and goes on; what is finished is not run again."""
    results = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--small", "--minutes", "3"]
    command += ["--json", str(results), "--runs", str(tmp_path / "runs"), "--only", "frontier", "step"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    parts = json.loads(results.read_text())["parts"]
    assert {name: part["state"] for name, part in parts.items()} == {"frontier": "finished", "step": "finished"}
    assert parts["step"]["cases"]["ipc 1: eager"]["ms"] > 0
    assert "| frontier | best-64: score |" in printed
    (run,) = (tmp_path / "runs").glob("*/best-64")
    distilled, digits = DistilledDataset.load(run), load_dataset("digits")
    evaluation = Evaluation(
        shape=NetworkShape(width=4), repeats=2, protocol=PROTOCOLS.get("dm").changed(epochs=2), show_progress=False
    )
    (score,) = load_scores(run)
    assert score == evaluation.of_distilled(distilled, digits).model_copy(update={"seconds": score.seconds})
    del parts["frontier"]["cases"]["best-64: network 2"]
    parts["frontier"]["state"] = "under way"  # as if it had been killed
    results.write_text(json.dumps({"parts": parts}))
    subprocess.run(command, env=environment, check=True, capture_output=True)
    again = json.loads(results.read_text())["parts"]
    assert again["step"] == parts["step"]
    assert again["frontier"]["state"] == "finished"
    accuracies = [again["frontier"]["cases"][f"best-64: network {number}"]["accuracy"] for number in (1, 2)]
    assert tuple(accuracies) == score.runs


@pytest.mark.slow
def test_training_and_a_pool_in_small(session):
    import gpu_parts

    gpu_parts.measure_evaluations(session)
    gpu_parts.measure_pool(session)
    cases = session.cases()
    assert not [case for case in cases.values() if "error" in case]
    assert cases["ipc 1: one by one, eager"]["accuracy"] == cases["ipc 1: 1 processes, eager"]["accuracy"]
    assert cases["best: bfloat16"]["loss_first"] == pytest.approx(cases["best: float32"]["loss_first"], rel=0.1)
    assert gpu_parts._collectives(torch.device("cpu"))["same"]

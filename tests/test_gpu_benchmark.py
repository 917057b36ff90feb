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


def test_figures_of_another_card_are_not_written_over(session, monkeypatch):
    import gpu

    session.run(part_of(60), python("pass"))  # on the card "none"
    before = session.results.read_text()
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--small", "--json", str(session.results)])
    with pytest.raises(SystemExit, match="holds figures of none, which would be lost: give another --json"):
        gpu.main()
    assert session.results.read_text() == before


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


def test_finished_parts_and_networks_are_not_run_again(session, monkeypatch, tmp_path):
    import gpu
    import gpu_sets

    session.run(part_of(60), python("pass"))
    monkeypatch.setattr(gpu, "this_script", lambda *_: pytest.fail("it was run again"))
    assert gpu.run_parts(session, [part_of(60)]) == {}
    session.add("best-64", {"set": 5})
    session.add("best-64: network 1", {"accuracy": 50.0, "set": 5})
    effort = gpu_sets.effort_of(session)
    assert [job.number for job in gpu_sets._jobs(session, "best-64", effort)] == [1]
    session.add("best-64", {"set": 6})  # distilled again, with another result
    assert [job.number for job in gpu_sets._jobs(session, "best-64", effort)] == [0, 1]
    session.add("best-64", {"error": "none"})
    assert gpu_sets._jobs(session, "best-64", effort) == []


@pytest.mark.slow
def test_a_session_in_small(tmp_path):
    """A set is distilled, and its networks, trained one by one in workers, are those of one evaluation."""
    results = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--small", "--minutes", "4"]
    command += ["--json", str(results), "--runs", str(tmp_path / "runs"), "--only", "frontier"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    part = json.loads(results.read_text())["parts"]["frontier"]
    assert part["state"] == "finished", printed
    assert "| frontier | best-64: score |" in printed
    (run,) = (tmp_path / "runs").glob("*/best-64")
    protocol = PROTOCOLS.get("dm").changed(epochs=10, batch_size=8, lr=0.1)
    evaluation = Evaluation(shape=NetworkShape(width=4), repeats=2, protocol=protocol, show_progress=False)
    expected = evaluation.of_distilled(DistilledDataset.load(run), load_dataset("digits"))
    (score,) = load_scores(run)
    assert score == expected.model_copy(update={"seconds": score.seconds})
    assert len(set(score.runs)) == 2  # they have learnt something, so that others would differ
    assert score.runs == tuple(part["cases"][f"best-64: network {number}"]["accuracy"] for number in (1, 2))


@pytest.mark.slow
def test_steps_training_and_a_pool_in_small(session):
    import gpu_parts

    gpu_parts.measure_steps(session)
    gpu_parts.measure_evaluations(session)
    gpu_parts.measure_pool(session)
    cases = session.cases()
    assert not [case for case in cases.values() if "error" in case]
    assert cases["ipc 1: plain"]["ms"] > 0
    assert cases["ipc 1: one by one, eager"]["accuracy"] == cases["ipc 1: 1 processes, eager"]["accuracy"]
    assert cases["best: bfloat16"]["loss_first"] == pytest.approx(cases["best: float32"]["loss_first"], rel=0.1)
    assert gpu_parts._collectives(torch.device("cpu"), session.runs / "group")["same"]

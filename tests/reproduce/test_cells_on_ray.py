"""Cells on Ray: the figures of this process, cells in turn, failures that cost the others nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from atom_distill.base.errors import AtomError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.optional import is_available
from atom_distill.processes.ray_cluster import RayCluster, RaySettings
from atom_distill.reproduce import cells_on_ray
from atom_distill.reproduce.cell import Cell, Effort, Result
from atom_distill.reproduce.cell_runner import CellRunner
from atom_distill.reproduce.cells_at_once import run_here, tasks_of
from atom_distill.reproduce.cells_on_ray import run_on_ray
from distillation.toys import toy_dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_available("ray"), reason="Ray is not installed: pip install 'atom-distill[ray]'"),
]

SETTINGS = {"ipc": 1, "steps": 2, "batch_real": 8, "depth": 1, "width": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def cluster():
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield RayCluster(RaySettings(device="cpu"), caller="a test")
    ray.shutdown()


def cell(method: str, column: str = "digits", **more) -> Cell:
    return Cell(method, column, "digits", {**SETTINGS, "method": method, **more})


def runner(folder: Path) -> CellRunner:
    return CellRunner(folder, Effort(repeats=1, epochs=2), shape=NetworkShape(1, 8), device="cpu")


def figures(results: list[Result]) -> list[tuple[str, str, int, tuple[float, ...]]]:
    return sorted((one.row, one.column, one.steps, one.runs) for one in results)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at how a process was started")
def test_workers_are_started_with_what_torch_reads_when_it_is_imported(cluster, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    found = cluster.run(lambda name, _: name in Path("/proc/self/environ").read_text(), ["GOMP_SPINCOUNT=10000"])
    assert list(found) == [(0, True)]


def test_the_figures_are_those_of_this_process(cluster, tmp_path, capsys):
    """Also of a cell that continues another's set, which must be there first."""
    short = cell("dm", "2 steps")
    longer = Cell("dm", "4 steps", "digits", {**short.settings, "steps": 4}, continues=short)
    cells = [longer, short, cell("random"), cell("atom")]
    here: list[Result] = []
    run_here(runner(tmp_path / "here"), tasks_of(cells, lambda _: None), here.append, cores=1)
    there: list[Result] = []
    tasks = tasks_of(cells, lambda _: None)
    run_on_ray(runner(tmp_path / "there"), tasks, there.append, cluster, tmp_path / "there")
    assert figures(there) == figures(here)
    assert "4 cells on Ray, processor threads: 1 each, of 2 cores, 0 GPUs" in capsys.readouterr().err
    assert not list((tmp_path / "there").glob(".*"))
    again: list[Result] = []
    run_on_ray(runner(tmp_path / "there"), tasks_of(cells, lambda _: None), again.append, cluster, tmp_path / "there")
    assert sorted(one.evaluate_seconds for one in again) == sorted(one.evaluate_seconds for one in there)


def test_a_cell_that_fails_costs_the_others_nothing(cluster, tmp_path):
    cells = [cell("herding", ipc=1000), cell("dm"), cell("atom")]
    kept: list[Result] = []
    with pytest.raises(AtomError, match=r"cell 1 of 3: herding/digits failed: ConfigError: .*1000"):
        run_on_ray(runner(tmp_path), tasks_of(cells, lambda _: None), kept.append, cluster, tmp_path)
    assert [one.row for one in sorted(kept, key=lambda one: one.row)] == ["atom", "dm"]


def test_a_cell_is_run_though_one_of_the_same_set_failed(cluster, tmp_path):
    """The first is scored with an architecture that does not fit; the second waits for it and has the same set."""
    wrong, right = cell("dm"), cell("dm", "again")
    kept: list[Result] = []
    tasks = tasks_of([replace(wrong, arch="vgg11"), right], lambda _: None)
    with pytest.raises(AtomError, match=r"cell 1 of 2: dm/digits failed: .*The others are finished"):
        run_on_ray(runner(tmp_path), tasks, kept.append, cluster, tmp_path)
    assert [one.column for one in kept] == ["again"]


def test_another_machine_s_data_of_the_same_name_are_refused(cluster, tmp_path):
    made = runner(tmp_path)
    made._datasets["digits"] = toy_dataset()
    with pytest.raises(AtomError, match=r"the data set digits of .* has other contents"):
        run_on_ray(made, tasks_of([cell("dm")], lambda _: None), pytest.fail, cluster, tmp_path)


def test_a_machine_without_the_folder_says_so(cluster, tmp_path, monkeypatch):
    run = cells_on_ray._run
    monkeypatch.setattr(cells_on_ray, "_run", lambda *task, mark, **more: run(*task, mark=mark / "no", **more))
    with pytest.raises(AtomError, match=r"does not see .*: `out` must be a folder that all machines"):
        run_on_ray(runner(tmp_path), tasks_of([cell("dm")], lambda _: None), pytest.fail, cluster, tmp_path)

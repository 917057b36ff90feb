"""`atom search` on digits: what it prints and writes, what it refuses, and that a killed search continues."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import types
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from forked import fork_context

SMALL = "--epochs 2 --whole-epochs 1 --on process"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    from atom_distill.api import distill
    from atom_distill.data.load import load_dataset

    folder, digits = tmp_path_factory.mktemp("runs"), load_dataset("digits")
    paths = [folder / method for method in ("random", "dm")]
    for path in paths:
        distill(digits, 1, path.name, out=path, steps=1, width=8, batch_real=4, show_progress=False)
    return paths


@pytest.fixture
def space(tmp_path) -> Path:
    path = tmp_path / "space.json"
    path.write_text(json.dumps([{"width": 4, "depth": depth} for depth in (1, 2, 3, 4)]))
    return path


def test_a_search_is_printed_and_kept(atom, runs, space, tmp_path):
    out = tmp_path / "out"
    answer = atom(f"search {runs[1]} --space {space} {SMALL} --out", out)
    assert answer.code == 0
    assert "architectures that do not fit the images and are left out: 1" in answer.err
    for text in ("architecture search", "early-stop", "whole", "3 architectures; protocol search(epochs=2)"):
        assert text in answer.out
    assert {path.name for path in out.iterdir()} == {"trials", "search.md", "search.json", "search.png", "trials.csv"}
    again = atom(f"search {runs[1]} --space {space} {SMALL} --json --out", out)
    assert "12 of 12 trials were finished before" in again.err
    stored = json.loads((out / "search.json").read_text())
    assert again.json["trials"] == stored["trials"]
    assert [verdict["proxy"] for verdict in stored["verdicts"]] == ["random", "dm", "early-stop", "whole"]


def test_a_run_of_random_images_is_its_own_proxy(atom, runs, space, tmp_path):
    line = f"search {runs[0]} --space {space} --proxies random --sample 2 {SMALL} --json --out"
    verdicts = atom(line, tmp_path / "out").json["verdicts"]
    assert [(verdict["proxy"], verdict["images"], verdict["finished"]) for verdict in verdicts] == [("random", 10, 2)]
    assert verdicts[0]["overall"] is None
    assert 0 <= verdicts[0]["chosen_accuracy"] <= 100


def test_the_sample_is_listed(atom, runs):
    listed = atom(f"search {runs[1]} --sample 5 --dry-run --json").json
    assert len(listed["architectures"]) == 5
    assert len(listed["unfit"]) == 120
    assert "pools 8x8 images to nothing" in listed["unfit"][0]["reason"]
    printed = atom(f"search {runs[1]} --sample 5 --dry-run").out
    assert printed.count("pools 8x8 images to nothing") == 1
    assert "120 do not fit, e.g. convnet-d4" in printed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--proxies random,atom", "there is no proxy 'atom': known are random, dm, early-stop, whole"),
        ("--sample 1000", "sample must be between 1 and 600"),
        ("--space convnets", "unknown space 'convnets'. Did you mean 'convnets-720'"),
        ("--sample 2 --on process --ray-address auto", "--ray-address is for Ray"),
        ("--sample 2 --on process --dashboard", "--dashboard is for Ray"),
        ("--sample 2 --on process --gpus-per-task 0.5", "--gpus-per-task is for Ray"),
        ("--sample 2 --on process --gpus-per-task 0", "--gpus-per-task is for Ray"),
        ("--sample 2 --epochs 8 --halving", "epochs must be 9 or more"),
        ("--space {here}.yaml", "cannot be read"),
        ("--sample 2 --on process --device cuda:77", "device 'cuda:77' is not available"),
    ],
)
def test_wrong_lines(atom, runs, tmp_path, more, message):
    answer = atom(f"search {runs[1]} {more} --out", tmp_path / "out")
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_and_no_folder_at_all(atom, runs, tmp_path):
    assert atom("search", tmp_path).code == 2
    assert "give one or more distilled runs" in atom("search").err
    assert "is given twice; give each once" in atom(f"search {runs[1]} {runs[1]}").err


@pytest.mark.slow
def test_a_killed_search_repeats_no_finished_trial(runs, space, tmp_path, monkeypatch):
    """Nor does one on Ray: tests/search/test_on_ray.py."""
    out = tmp_path / "out"
    line = ["search", str(runs[1]), "--space", str(space), "--on", "process"]
    line += ["--proxies", "dm,random", "--epochs", "200", "--whole-epochs", "1", "--out", str(out)]
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "cache"))
    search = start(line, tmp_path / "told")
    deadline = time.monotonic() + 200
    while len(list(out.glob("trials/*.json"))) < 2:
        assert search.exitcode is None, f"the search ended before it could be killed: {told_in(tmp_path)}"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    search.kill()
    search.join(60)
    assert search.exitcode == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in out.glob("trials/*.json")}
    assert 2 <= len(finished) < 6
    again = start(line, tmp_path / "told")
    again.join(200)
    assert again.exitcode == 0, told_in(tmp_path)
    assert f"{len(finished)} of 6 trials were finished before" in told_in(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list(out.glob("trials/*.json"))) == 6


def start(line: list[str], told: Path) -> BaseProcess:
    """Start a command line in a process of its own, whose messages go into a file."""
    process = fork_context().Process(target=run, args=(line, told, Path.cwd()))
    process.start()
    return process


def run(line: list[str], told: Path, folder: Path) -> None:
    from atom_distill.cli.main import main

    os.chdir(folder)
    torch.set_num_threads(1)
    with told.open("w") as file, redirect_stderr(file), redirect_stdout(file):
        code = main(line)
    raise SystemExit(code)


def told_in(folder: Path) -> str:
    return (folder / "told").read_text()


def test_a_custom_space_is_found_in_the_folder_where_the_command_is_given(atom, runs):
    Path("my_space.py").write_text(
        "from atom_distill.base.network_shape import NetworkShape\n"
        "from atom_distill.search.space import Candidate\n"
        "def small():\n"
        "    return [Candidate('convnet', NetworkShape(width=width)) for width in (2, 4)]\n"
    )
    listed = atom(f"search {runs[1]} --space my_space:small --dry-run --json").json
    assert listed["architectures"] == ["convnet-w2", "convnet-w4"]


@pytest.fixture
def ray_that_does_not_start(monkeypatch):
    def init(**_):
        raise RuntimeError("no shared memory here")

    ray = types.ModuleType("ray")
    ray.__spec__ = ModuleSpec("ray", None)
    ray.init, ray.is_initialized = init, lambda: False
    monkeypatch.setitem(sys.modules, "ray", ray)


def test_a_search_goes_on_here_where_ray_cannot_start(atom, runs, space, tmp_path, ray_that_does_not_start):
    line = f"search {runs[1]} --epochs 2 --whole-epochs 1 --proxies random --device cpu --json --space"
    answer = atom(line, space, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "Ray does not start here: no shared memory here; going on without it" in answer.err
    assert (tmp_path / "out" / "search.json").is_file()


def test_a_device_that_ray_does_not_take_is_not_given_to_it(atom, runs, space, tmp_path, ray_that_does_not_start):
    """Ray chooses the GPU itself."""
    line = f"search {runs[1]} --proxies random --device cuda:77"
    answer = atom(f"{line} --space", space, "--out", tmp_path / "out")
    assert "device 'cuda:77' is not available" in answer.err
    answer = atom(f"{line} --on ray --space", space, "--out", tmp_path / "out")
    assert "on Ray the device is auto, cpu or cuda, got 'cuda:77'" in answer.err


@pytest.mark.parametrize("more", ["--on ray", "--gpus-per-task 0.5", "--ray-address auto"])
def test_who_asks_for_ray_is_told_that_it_cannot_start(atom, runs, space, tmp_path, ray_that_does_not_start, more):
    answer = atom(f"search {runs[1]} --proxies random {more} --space", space, "--out", tmp_path / "out")
    assert answer.code == 2
    assert "no shared memory here" in answer.err
    assert "going on" not in answer.err

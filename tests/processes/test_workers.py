"""Worker processes: results, failures, stops, and tensors that travel."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import pytest
import torch

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import LostWorkerError, NonFiniteError
from atom_distill.base.folder_lock import locked
from atom_distill.base.progress import note
from atom_distill.processes.neighbors import host
from atom_distill.processes.packed import pack
from atom_distill.processes.workers import run_tasks


class Job:
    """Does what a task says; `shared` is a large tensor."""

    def __init__(self, shared: torch.Tensor) -> None:
        self.shared = shared

    def __call__(self, task: tuple[str, Any], report, stop_requested) -> Any:
        what, value = task
        report(what)
        if what == "add":
            note("adding")
            sys.stdout.write("to standard output\n")
            return os.getpid(), torch.get_num_threads(), float(self.shared.sum()) + float(value.sum())
        if what == "fail":
            raise NonFiniteError(value)
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        until = time.monotonic() + 60
        while time.monotonic() < until and not stop_requested():
            time.sleep(0.02)
        raise NonFiniteError(f"saved {value}")


def ran(tasks: list[tuple[str, Any]], shared: torch.Tensor | None = None, **options: Any) -> dict[int, Any]:
    job = Job(torch.zeros(0) if shared is None else shared)
    with closing(run_tasks(job, iter(tasks), len(tasks), cores=2, **options)) as running:
        return dict(running)


@pytest.mark.slow
def test_tasks_are_done_in_processes_of_their_own_and_reported_here(capfd):
    shared = torch.arange(1 << 19, dtype=torch.float64)  # 4 MiB: mapped, not copied
    reports: list[Any] = []
    tasks = [("add", torch.full((2,), float(number))) for number in range(5)]
    found = ran(tasks, shared, on_report=lambda *told: reports.append(told))
    assert {number: total for number, (_, _, total) in found.items()} == {
        number: float(shared.sum()) + 2 * number for number in range(5)
    }
    assert {threads for _, threads, _ in found.values()} == {1}
    processes = {process for process, _, _ in found.values()}
    assert os.getpid() not in processes
    assert len(processes) <= 2
    assert sorted(reports) == [(number, "add") for number in range(5)]
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(err.splitlines()) == ["adding", "to standard output"]  # once, though five tasks said so
    assert not list(cache_root().glob("workers-*"))


@pytest.mark.slow
def test_a_failure_is_raised_here_with_its_type_and_ends_the_others():
    before = time.monotonic()
    with pytest.raises(NonFiniteError, match="network 3 diverged"):
        ran([("wait", 0), ("fail", "network 3 diverged"), ("wait", 1)])
    assert time.monotonic() - before < 50


@pytest.mark.slow
def test_a_worker_that_dies_is_named():
    with pytest.raises(LostWorkerError, match=r"signal 9.*OMP_NUM_THREADS=1"):
        ran([("wait", 0), ("die", None)])


@pytest.mark.slow
def test_a_request_to_stop_lets_all_save_before_it_is_raised():
    began: list[int] = []
    saved = pytest.raises(NonFiniteError, match=r"saved [01]")
    with saved:
        ran(
            [("wait", 0), ("wait", 1), ("wait", 2)],
            on_report=lambda number, _: began.append(number),
            stop_requested=lambda: len(began) == 2,
        )
    assert sorted(began) == [0, 1]  # the third was not begun


@pytest.mark.slow
def test_tensors_of_a_killed_process_are_removed_by_the_next_and_not_those_of_another_container():
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    names = [f"{int(ended.stdout)}-killed", f"{os.getpid()}-alive", f"{int(ended.stdout)}-elsewhere"]
    folders = [cache_root() / f"workers-{host()}-{name}" for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
    with locked(folders[2]):
        ran([("add", torch.ones(1))] * 2)
    assert [folder.exists() for folder in folders] == [False, True, True]
    for folder in folders[1:]:
        folder.rmdir()


@pytest.mark.slow
def test_a_folder_is_locked_as_long_as_it_is_used():
    tasks, held = [("wait", 0), ("fail", "no")], []

    def look(_number: int, _value: Any) -> None:
        (folder,) = cache_root().glob("workers-*")
        with locked(folder) as free:
            held.append(free is False)

    with pytest.raises(NonFiniteError):
        ran(tasks, on_report=look)
    assert all(held)
    assert held


@pytest.mark.slow
def test_a_worker_ends_when_what_is_sent_is_cut_off():
    begun = pickle.dumps((1, pickle.dumps(len))) + pickle.dumps(b"a task")[:-3]
    command = [sys.executable, "-c", "from atom_distill.processes.worker import main; main()"]
    assert subprocess.run(command, input=begun, capture_output=True, timeout=60, check=False).returncode == 0


def test_one_task_or_core_needs_no_process():
    tasks = [("add", torch.ones(1))]
    ((process, _, total),) = ran(tasks, torch.ones(3)).values()
    assert (process, total) == (os.getpid(), 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8, torch.bool, torch.int64])
@pytest.mark.parametrize("size", [0, 1, 7, 1 << 20])
def test_tensors_are_the_same_on_the_other_side(dtype, size, tmp_path):
    """Views too, of which torch would send the whole."""
    whole = torch.arange(2 * size + 2).to(dtype).view(-1, 2)
    sent = {"view": whole[1:, 0], "scalar": whole[0, 0], "twice": [whole, whole]}
    content = pack(sent, tmp_path)
    found = pickle.loads(content)
    assert torch.equal(found["view"], sent["view"])
    assert found["scalar"].shape == ()
    assert found["twice"][0] is found["twice"][1]
    assert torch.equal(found["twice"][0], whole)
    assert found["view"].dtype == dtype
    files = list(tmp_path.iterdir())
    assert bool(files) == (size == 1 << 20)
    assert len(content) < 2000
    found["view"].zero_()  # a private mapping: the file, and the sender's tensor, stay as they are
    assert torch.equal(pickle.loads(content)["view"], sent["view"])

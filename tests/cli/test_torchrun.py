"""The commands under torchrun: one bar, one folder, and an end when a process dies."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forked import atom_on_ranks

RUN = "--ipc 1 --width 8 --batch-real 8 --compile off --device cpu --checkpoint-every 5"


def torchrun(command: str, out: Path) -> subprocess.Popen[str]:
    line = f"-m torch.distributed.run --standalone --nproc-per-node=2 -m atom_distill {command}"
    return subprocess.Popen(
        [sys.executable, *line.split(), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def has_ended(process: int) -> bool:
    """Whether a process has ended but not been reaped."""
    return "State:\tZ" in Path(f"/proc/{process}/status").read_text()


def workers(parent: int) -> dict[int, int]:
    """The processes of the ranks, by rank."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            status, environment = (folder / "status").read_text(), (folder / "environ").read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        rank = re.search(r"(?:^|\0)RANK=(\d+)", environment)
        if rank and re.search(rf"^PPid:\s+{parent}$", status, re.MULTILINE):
            found[int(rank[1])] = int(folder.name)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found by /proc, which is Linux's")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_command_and_the_run_resumes(victim, tmp_path):
    out = tmp_path / "run"
    running = torchrun(f"distill digits {RUN} --steps 100000", out)
    try:
        deadline = time.monotonic() + 200
        while not list(out.glob("checkpoint-*")):
            assert running.poll() is None, running.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ranks = workers(running.pid)
        os.kill(running.pid, signal.SIGSTOP)  # torchrun might end the other rank before it reports why it ends
        os.kill(ranks[victim], signal.SIGKILL)
        while not has_ended(ranks[1 - victim]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGCONT)
        _, told = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode != 0
    assert re.search(rf"rank\s*:\s*{victim}\b", told), told
    assert "lost the connection to another rank" in told
    assert "Warning: torch.distributed" not in told
    step = max(int(path.stem.split("-")[1]) for path in out.glob("checkpoint-*"))
    words = f"distill digits {RUN} --resume --json --steps {step + 5} --out {out}".split()
    resumed, silent = atom_on_ranks(2, words)
    assert resumed.code == silent.code == 0, resumed.err
    assert silent.out == ""
    facts = json.loads(resumed.out)  # of one process, for all
    assert (facts["steps"], facts["images"]) == (step + 5, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "told"), [("--method atim", "unknown method 'atim'"), ("--no-such-option", "Unrecognized options: ")]
)
def test_what_is_wrong_is_told_once(wrong, told, tmp_path):
    first, second = atom_on_ranks(2, f"distill digits --ipc 1 {wrong} --out {tmp_path / 'run'}".split())
    assert first.code == second.code == 2
    assert first.err.count(told) == 1
    assert second.out == second.err == ""


def test_other_commands_are_not_for_several_processes(atom, monkeypatch):
    said = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "x"}
    for name, value in {**said, "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    answer = atom("data digits")
    assert answer.code == 2
    assert "only distill and evaluate can be run by several processes" in answer.err


def test_a_launcher_that_does_not_say_all_is_told(atom, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = atom("distill digits --ipc 1")
    assert answer.code == 2
    assert "start it with torchrun, or unset WORLD_SIZE" in answer.err

"""Tuning of a process, each in a new process since it cannot be undone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from atom_distill.base import process

HELD = """
from pathlib import Path
import ctypes, sys
from atom_distill.base.process import tune_process

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

if sys.argv[1] == "tuned":
    tune_process()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
size = 200 << 20
block = libc.malloc(ctypes.c_size_t(size))
ctypes.memset(block, 1, size)
before = resident()
libc.free(block)
print(before - resident())
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return done.stdout.strip()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
def test_freed_memory_is_kept():
    assert int(run(HELD, "plain")) > 150  # MB returned to the system
    assert int(run(HELD, "tuned")) < 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="changes glibc only")
def test_a_glibc_that_refuses_large_blocks_gets_the_largest_that_it_takes(monkeypatch):
    given = []

    def mallopt(parameter: int, value: int) -> int:
        given.append((parameter, value))
        return int(parameter != -3 or value <= 32 << 20)

    monkeypatch.setattr(process.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    process.keep_freed_memory(mapped_above=1 << 30, returned_above=5)
    assert given == [(-3, 1 << 30), (-3, 32 << 20), (-1, 5)]


def test_variables_set_by_the_user_are_kept():
    program = (
        "import os; from pathlib import Path; from atom_distill.base.process import tune_process;"
        "tune_process(Path('/there')); print(os.environ['GOMP_SPINCOUNT'], os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    )
    assert run(program, GOMP_SPINCOUNT="7", TORCHINDUCTOR_CACHE_DIR="/mine") == "7 /mine"


def test_importing_changes_nothing_and_does_not_import_torch():
    program = (
        "import sys, os; os.environ.pop('TORCHINDUCTOR_CACHE_DIR', None); import atom_distill.base.process;"
        "print('torch' in sys.modules, 'TORCHINDUCTOR_CACHE_DIR' in os.environ)"
    )
    assert run(program) == "False False"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "150000 100000"}, 2),
        ({"quota": "400000\n", "period": "100000\n"}, 4),
        ({"quota": "-1\n", "period": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_cores_are_those_that_the_container_grants(files, cores, tmp_path, monkeypatch):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    places = ((str(tmp_path / "cpu.max"),), (str(tmp_path / "quota"), str(tmp_path / "period")))
    monkeypatch.setattr(process, "_QUOTA_FILES", places)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert process.usable_cores() == cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert process.usable_cores() == 1

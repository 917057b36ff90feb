"""Commands that see each other."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atom_distill.base.cache_folder import cache_root
from atom_distill.processes.neighbors import announced

ANOTHER = """
import sys
from atom_distill.processes.neighbors import announced
with announced("distill"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_another_command_is_noted_as_long_as_it_lives(capsys, monkeypatch):
    with announced("evaluate"):
        pass
    assert capsys.readouterr().err == ""
    command = [sys.executable, "-c", ANOTHER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        with announced("evaluate"):
            assert f"atom distill (process {other.pid}) is computing on this machine" in capsys.readouterr().err
            assert len(list(cache_root().glob("running/*"))) == 2
        monkeypatch.setenv("RANK", "1")  # those that torchrun starts are one command
        for name in ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.setenv(name, "2")
        with announced("evaluate"):
            assert capsys.readouterr().err == ""
        monkeypatch.delenv("WORLD_SIZE")
        other.kill()
        other.wait()
        with announced("evaluate"):  # its file is still there, and its lock is not
            assert capsys.readouterr().err == ""
            (mine,) = cache_root().glob("running/*")
            assert mine.suffix == f".{os.getpid()}"
    assert not list(cache_root().glob("running/*"))


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores",
)
def test_commands_on_cores_of_their_own_do_not_disturb_each_other(capsys):
    mine, theirs = sorted(os.sched_getaffinity(0))[:2]
    code = f"import os; os.sched_setaffinity(0, [{theirs}])\n{ANOTHER}"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "ready\n"
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, [mine])
            with announced("evaluate"):
                assert capsys.readouterr().err == ""
            os.sched_setaffinity(0, [mine, theirs])
            with announced("evaluate"):
                assert f"atom distill (process {other.pid}) is computing" in capsys.readouterr().err
        finally:
            os.sched_setaffinity(0, before)
            other.kill()


def test_a_folder_that_cannot_be_written_is_no_matter(capsys):
    cache_root().mkdir(parents=True)
    (cache_root() / "running").write_text("a file")
    with announced("evaluate"):
        pass
    assert capsys.readouterr().err == ""


def test_where_nothing_can_be_locked_nothing_happens(capsys, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with announced("evaluate"):
        assert not list(cache_root().glob("running/[!.]*"))  # nobody could see whether it lives
    assert not list(cache_root().glob("running/*"))
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_no_matter(monkeypatch):
    monkeypatch.setattr(Path, "open", lambda *_, **options: open("/dev/full", "wb", **options))  # noqa: PTH123, SIM115
    with announced("evaluate"):
        pass

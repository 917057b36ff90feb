"""The record of versions, machine and command."""

from __future__ import annotations

import datetime
import io
import json
import subprocess

import pytest
import torch

from atom_distill.base import record as module
from atom_distill.base.record import commit_of, run_record


def test_the_record_is_json_and_names_versions_machine_and_time():
    record = json.loads(json.dumps(run_record()))
    assert record["torch"] == torch.__version__
    assert record["atom_distill"] != "unknown"
    assert record["threads"] == torch.get_num_threads()
    assert record["machine"]
    assert datetime.datetime.fromisoformat(record["started"]).tzinfo is not None


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", "Some Processor, 2 cores, AMX"),
        ("fpu avx512f avx512_bf16", "Some Processor, 2 cores, AVX-512 bfloat16"),
        ("fpu avx512f", "Some Processor, 2 cores"),
    ],
)
def test_the_processor_is_named_with_amx_where_it_has_it(flags, expected, monkeypatch):
    core = f"processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: {flags}\n\n"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(module, "open", lambda *_, **__: io.StringIO(2 * core), raising=False)
    assert run_record()["machine"] == expected


def test_the_machine_is_the_device_that_was_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: "a GPU")
    assert run_record()["machine"] == run_record(torch.device("cuda"))["machine"] == "a GPU"
    assert run_record(torch.device("cpu"))["machine"] != "a GPU"


def test_the_command_is_written_as_it_was_typed(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/atom", "distill", "digits", "--ipc", "1"])
    assert run_record()["command"] == "atom distill digits --ipc 1"
    monkeypatch.setattr("sys.argv", ["/home/me/atom_distill/__main__.py", "reproduce", "--cells", "atom/*"])
    assert run_record()["command"] == "atom reproduce --cells 'atom/*'"
    monkeypatch.setattr("sys.argv", ["-c"])
    assert run_record()["command"] == "python"


def test_a_script_is_named_relative_to_the_working_folder_or_by_name_only(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bench/step.py", "--rounds", "5"])
    assert run_record()["command"] == "python bench/step.py --rounds 5"
    monkeypatch.setattr("sys.argv", [str(tmp_path.parent / "private" / "step.py")])
    assert run_record()["command"] == "python step.py"


def test_the_commit_is_that_of_the_source_and_marks_changes(tmp_path):
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    source = tmp_path / "source"
    source.mkdir()
    assert commit_of(source) is None
    (source / "a.py").write_text("1")
    (tmp_path / ".gitignore").write_text("installed")
    git("init", "-q")
    assert commit_of(source) is None  # a repository that does not track it
    git("add", ".")
    git("commit", "-qm", "one")
    head = git("rev-parse", "--short", "HEAD").strip()
    assert commit_of(source) == head
    (tmp_path / "elsewhere.txt").write_text("")
    assert commit_of(source) == head
    (source / "a.py").write_text("2")
    assert commit_of(source) == f"{head}-dirty"
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "b.py").write_text("")
    assert commit_of(installed) is None

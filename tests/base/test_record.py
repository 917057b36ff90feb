"""The record of what a result was made with."""

from __future__ import annotations

import datetime
import json

import torch

from atom_distill.base.record import run_record


def test_the_record_is_json_and_names_versions_machine_and_time():
    record = json.loads(json.dumps(run_record()))
    assert record["torch"] == torch.__version__
    assert record["atom_distill"] != "unknown"
    assert record["threads"] == torch.get_num_threads()
    assert record["machine"]
    assert datetime.datetime.fromisoformat(record["started"]).tzinfo is not None


def test_the_command_is_written_as_it_was_typed(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/atom", "distill", "digits", "--ipc", "1"])
    assert run_record()["command"] == "atom distill digits --ipc 1"
    monkeypatch.setattr("sys.argv", ["/somewhere/script.py", "--secret"])
    assert run_record()["command"] == "python"

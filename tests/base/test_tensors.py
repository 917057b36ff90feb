"""Tensor files are written completely or not at all."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from atom_distill.base.tensors import checksum, write_tensors


def test_what_is_written_is_read(tmp_path):
    written = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3)}
    write_tensors(tmp_path / "file", written)
    assert all(torch.equal(tensor, written[name]) for name, tensor in load_file(tmp_path / "file").items())


def test_a_full_disk_is_an_os_error_and_leaves_the_old_file(tmp_path):
    """In a new process with a limit of 1000 bytes per file."""
    code = """
import resource, signal, sys, torch
from pathlib import Path
from atom_distill.base.tensors import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
path = Path(sys.argv[1])
write_tensors(path, {"a": torch.zeros(10)})
try:
    write_tensors(path, {"a": torch.zeros(10_000)})
except OSError as error:
    print(error)
"""
    line = [sys.executable, "-c", code, str(tmp_path / "file")]
    told = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    assert "file cannot be written: " in told
    assert len(load_file(tmp_path / "file")["a"]) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_safetensors_leaves_behind_is_in_a_temporary_folder(tmp_path, monkeypatch):
    """It writes to a file of its own first, which stays where the process is killed."""
    places = []

    def leaving(tensors, path, metadata=None):
        (Path(path).parent / ".tmpAbC").touch()
        places.append(Path(path).parent)
        save_file(tensors, path, metadata)

    monkeypatch.setattr("safetensors.torch.save_file", leaving)
    write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(2)})
    assert [path.name for path in tmp_path.iterdir() if path.name != "atom-data"] == ["a.safetensors"]
    assert places[0].parent == tmp_path
    assert places[0].match(".*.part")  # which the next start removes
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], torch.ones(2))


def test_the_checksum_is_of_names_and_bytes():
    tensors = {"a": torch.arange(3), "b": torch.tensor(1.5)}
    want = zlib.crc32(tensors["a"].numpy().tobytes(), zlib.crc32(b"a"))
    want = zlib.crc32(tensors["b"].numpy().tobytes(), zlib.crc32(b"b", want))
    assert checksum(tensors) == checksum(dict(reversed(tensors.items()))) == want
    assert checksum({"a": torch.arange(3), "c": torch.tensor(1.5)}) != want
    assert checksum({"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.zeros(0)}) > 0

"""Files of tensors: whole, or not at all."""

from __future__ import annotations

import resource
import signal

import pytest
import torch
from safetensors.torch import load_file

from atom_distill.base.tensors import write_tensors


def test_what_is_written_is_read(tmp_path):
    written = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3)}
    write_tensors(tmp_path / "file", written)
    assert all(torch.equal(tensor, written[name]) for name, tensor in load_file(tmp_path / "file").items())


@pytest.fixture
def small_files():
    """Allow this process files of 1000 bytes, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_is_an_error_of_the_system_and_leaves_nothing(tmp_path, small_files):
    write_tensors(tmp_path / "file", {"a": torch.zeros(10)})
    with pytest.raises(OSError, match="file cannot be written: "):
        write_tensors(tmp_path / "file", {"a": torch.zeros(10_000)})
    assert len(load_file(tmp_path / "file")["a"]) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

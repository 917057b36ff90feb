"""Some of many images: the same as by indexing, and not in memory."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch

from atom_distill.data import rows
from atom_distill.data.rows import take


@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("together", [1, 700])
def test_the_images_are_those_at_the_indices(limit, together, monkeypatch):
    monkeypatch.setattr(rows, "_IN_MEMORY", limit)
    monkeypatch.setattr(rows, "_AT_ONCE", together)
    images = torch.arange(50 * 3 * 4 * 5).view(50, 3, 4, 5).to(torch.uint8)
    indices = torch.tensor([7, 3, 3, 49, 0])
    assert torch.equal(take(images, indices), images[indices])
    assert len(take(images, indices[:0])) == 0
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(take(last, indices), images[indices])


def test_many_are_not_in_memory_and_leave_no_file(tmp_path):
    """In a process of its own: a hundred megabytes of another mapped file."""
    code = """
import sys, numpy as np, torch
from atom_distill.base.peak_memory import held_bytes
from atom_distill.data.rows import take
images = torch.from_numpy(np.memmap(sys.argv[1], np.uint8, "r+", shape=(40_000, 3, 32, 32)))
before = held_bytes()
taken = take(images, torch.arange(40_000).flip(0)[:33_000])
print((held_bytes() - before) / 2**20)
assert torch.equal(taken[::1000], images.flip(0)[:33_000:1000])
"""
    rows = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(40_000, 3 * 32 * 32))
    rows[:] = np.arange(40_000)[:, None] % 251
    rows.flush()
    line = [sys.executable, "-c", code, str(tmp_path / "pixels")]
    grown = float(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    assert grown < 40  # the taken images are 97 MiB
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "pixels"]


def test_a_full_disk_is_an_error_and_no_crash(monkeypatch):
    class Full(io.FileIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(rows, "_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full(dir / "x", "w+"))
    with pytest.raises(OSError, match="no room"):
        take(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 2]))

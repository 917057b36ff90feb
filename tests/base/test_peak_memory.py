"""Peak memory of a block of code, unaffected by what ran before."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch

from atom_distill.base import peak_memory
from atom_distill.base.peak_memory import PeakMemory

CPU = torch.device("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can reset the peak")
def test_the_peak_is_that_of_the_block():
    with PeakMemory(CPU) as before:
        small = peak_memory.held_bytes() / 2**20
        large = torch.ones(64 * 2**18)  # 64 MiB of float32
        assert before.mib > 64
        high = before.mib
        while before.own_mib < small + 50:  # it is sampled at intervals
            time.sleep(0.01)
        del large
    with PeakMemory(CPU) as after:
        torch.ones(2**18)
    assert after.mib < high - 50
    assert after.own_mib < before.own_mib - 40


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux distinguishes them")
def test_pages_of_a_mapped_file_are_excluded_from_own_memory(tmp_path):
    (tmp_path / "file").write_bytes(bytes(64 * 2**20))
    with PeakMemory(CPU) as peak:
        before = peak.mib
        int(np.memmap(tmp_path / "file", np.uint8, "r").sum())
    assert peak.mib > before + 50
    assert peak.own_mib < peak.mib - 50


def test_where_it_cannot_be_reset_it_is_the_peak_of_the_process(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "_CLEAR", tmp_path)  # a folder cannot be written
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "nothing")
    assert PeakMemory(CPU).mib > 50


def test_without_proc_and_resource_as_on_windows_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "nothing")
    monkeypatch.setattr(peak_memory, "_CLEAR", tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(peak_memory.ctypes, "CDLL", None)  # which takes no None there
    with PeakMemory(CPU) as peak:
        pass
    assert (peak.mib, peak.own_mib) == (0, 0)

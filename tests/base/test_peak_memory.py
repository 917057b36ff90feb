"""The peak of memory: of the work at hand, and not of what came before it."""

from __future__ import annotations

import sys

import pytest
import torch

from atom_distill.base import memory
from atom_distill.base.memory import PeakMemory

CPU = torch.device("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can begin a peak anew")
def test_a_peak_is_that_of_the_work_since():
    before = PeakMemory(CPU)
    large = torch.ones(64 * 2**18)  # 64 MiB of float32
    assert before.mib > 64
    high = before.mib
    del large
    after = PeakMemory(CPU)
    torch.ones(2**18)
    assert after.mib < high - 50


def test_where_it_cannot_begin_anew_it_is_the_peak_since_the_process_began(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path)  # a folder cannot be written
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nothing")
    assert PeakMemory(CPU).mib > 50

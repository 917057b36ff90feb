"""What a process does when it joins others; what they do together is tested with the distillation."""

from __future__ import annotations

import pytest
import torch

from atom_distill.processes import ranks
from atom_distill.processes.launcher import Launched


@pytest.mark.parametrize(("given", "used"), [("1", 4), ("3", None)])
def test_the_one_thread_of_torchrun_is_replaced_and_told(given, used, monkeypatch, capsys):
    counts: list[int] = []
    monkeypatch.setattr(ranks, "_ours", ranks.Ranks())
    monkeypatch.setattr(ranks, "launched", lambda: Launched(0, 2, 0, 2))
    monkeypatch.setattr(ranks, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    for name, value in {"init_process_group": None, "get_rank": 0, "get_world_size": 2}.items():
        monkeypatch.setattr(ranks.dist, name, lambda *_, value=value, **__: value)
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert ranks.join().size == 2
    assert counts == ([used] if used else [])
    told = "OMP_NUM_THREADS is 1, as torchrun sets it: each process uses 4 threads" in capsys.readouterr().err
    assert told == bool(used)

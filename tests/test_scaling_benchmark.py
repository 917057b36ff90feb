"""The benchmark of scaling, with a case whose processes fail."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_process_that_fails_ends_the_case(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    scaling = importlib.import_module("scaling")
    with pytest.raises(SystemExit, match="a process of this case failed"):
        scaling._measured(scaling.Case(classes=2, size=8, ipc=0))

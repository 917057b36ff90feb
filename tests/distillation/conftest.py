"""Ctrl-C at a chosen step."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from atom_distill.distillation.loop import Loop
from atom_distill.distillation.run_state import RunState


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Press Ctrl-C while step `n` is computed: `stop_at(n)`; `stop_at(0)` never again."""
    at = 0
    checkpoint = Loop._checkpoint

    def press(self: Loop, state: RunState, *, now: bool) -> None:
        checkpoint(self, state, now=now)
        if state.step == at - 1:  # after this step's check: it is the next that sees it
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Loop, "_checkpoint", press)

    def arrange(step: int) -> None:
        nonlocal at
        at = step

    return arrange

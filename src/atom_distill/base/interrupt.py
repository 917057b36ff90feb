"""Stop on Ctrl-C, or when the terminal is closed, between two steps instead of in the middle of one."""

from __future__ import annotations

import os
import signal
import stat
import threading
from types import FrameType, TracebackType
from typing import Any

_HANG_UP = getattr(signal, "SIGHUP", None)
"""Sent when the terminal is closed or its connection is lost. Windows does not have it."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM) if _HANG_UP is None else (signal.SIGINT, signal.SIGTERM, _HANG_UP)


class StopRequest:
    """Turn the first Ctrl-C (or SIGTERM, SIGHUP) into a flag; the second one interrupts immediately.

    More than one SIGHUP is normal, since shell and system each send one when a terminal is closed. One that the caller
    ignores, as `nohup` does, stays ignored.

    Outside the main thread, where Python cannot install signal handlers, it has no effect.

    Attributes:
        received: whether a stop was requested.
    """

    def __init__(self) -> None:
        self.received = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if number == _HANG_UP and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == _HANG_UP:
            _leave_closed_terminal()
        elif self.received:
            raise KeyboardInterrupt
        self.received = True


def _leave_closed_terminal() -> None:
    """Send outputs to a closed terminal into nothing: writing to it would fail before the run is saved."""
    for output in (1, 2):
        try:
            is_closed_terminal = stat.S_ISCHR(os.fstat(output).st_mode) and not os.isatty(output)
        except OSError:
            continue  # the caller has closed it
        if is_closed_terminal:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, output)
            os.close(nothing)

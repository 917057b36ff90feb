"""Progress on standard error: a live bar in a terminal, plain lines elsewhere.

Standard output is reserved for results, so that `--json` can be piped.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from atom_distill.base.plain_text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_SECONDS_BETWEEN_LINES = 10.0
_SILENT_SECONDS = 3.0
_SAMPLES = 30
_SECONDS_BETWEEN_SAMPLES = 1.0
LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""Environment variables that torchrun sets for each process."""


def is_main_process() -> bool:
    """Return whether this process prints: a single process, or rank 0 of those started by torchrun.

    Also True if the environment is incomplete or malformed, so that the error is shown.
    """
    numbers = launcher_numbers()
    return not numbers or numbers[0] == 0


def launcher_numbers() -> tuple[int, ...] | None:
    """Return the values of LAUNCHER_VARIABLES; an empty tuple for a single process (WORLD_SIZE unset or 1).

    None if there are several processes, and a variable that they need to find each other is missing or wrong.
    """
    values = {name: os.environ.get(name, "").strip() for name in LAUNCHER_VARIABLES}
    if values["WORLD_SIZE"] in ("", "1"):
        return ()
    address = all(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    if not address or not all(value.isascii() and value.isdigit() for value in values.values()):
        return None
    return tuple(map(int, values.values()))


def note(message: str) -> None:
    """Print a message as one line on standard error, in the main process only."""
    if not is_main_process():
        return
    print(one_line(message), file=sys.stderr, flush=True)  # noqa: T201 (the only place that prints)


class Progress:
    """Progress of a task of known length.

    ```python
    with Progress("distill", total=500) as bar:
        for step in range(500):
            bar.advance(loss=f"{loss:.3f}")
    ```

    Args:
        label: name of the task, a word or two.
        total: number of units.
        done: units finished before (in a resumed run).
        unit: name of the units, plural.
        enabled: False shows nothing.
    """

    def __init__(self, label: str, *, total: int, done: int = 0, unit: str = "steps", enabled: bool = True) -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self.enabled = enabled and is_main_process()
        self._done_at_start = done
        self._started = self._last_line = time.monotonic()
        self._live = _live_bar(label, total, done) if self.enabled and sys.stderr.isatty() else None
        self._recent: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def __enter__(self) -> Progress:
        self._started = self._last_line = time.monotonic()
        self._recent.append((self._started, self.done))
        if self._live:
            self._live.start()
        return self

    def advance(self, units: int = 1, **values: str) -> None:
        """Count `units` more as finished and show `values` next to the bar."""
        self.done += units
        now = time.monotonic()
        if self.done - units == self._done_at_start:
            self._recent.clear()  # the first unit may include compilation
        if not self._recent or now - self._recent[-1][0] >= _SECONDS_BETWEEN_SAMPLES:
            self._recent.append((now, self.done))
        if self._live:
            self._live.update(self._live.task_ids[0], completed=self.done, text=self._describe(values))
        elif self.enabled and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._line(values)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        elif self.enabled and kind is None and self.elapsed > _SILENT_SECONDS:
            note(f"{self.label}: {self.done}/{self.total} {self.unit} in {duration(self.elapsed)}")

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Units per second over the last 30 units or half a minute, whichever is longer; 0 before the second unit.

        The first unit is left out: in a compiled run it takes as long as a hundred others.
        """
        if not self._recent:
            return 0.0
        since, done = self._recent[0]
        seconds = time.monotonic() - since
        return (self.done - done) / seconds if seconds > 0 else 0.0

    def _describe(self, values: dict[str, str]) -> str:
        left = duration((self.total - self.done) / self.rate) if self.rate > 0 else "?"
        speed = f"{self.rate:.3g} {self.unit}/s"
        return "  ".join([*(f"{name} {value}" for name, value in values.items()), speed, f"{left} left"])

    def _line(self, values: dict[str, str]) -> None:
        self._last_line = time.monotonic()
        note(f"{self.label}: {self.done}/{self.total}  {self._describe(values)}")


def _live_bar(label: str, total: int, done: int) -> RichProgress:
    """Return the bar for a terminal, drawn by rich."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        console=Console(stderr=True),
    )
    bar.add_task(label, total=total, completed=done, text="")
    return bar


def duration(seconds: float) -> str:
    """Return a readable duration: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

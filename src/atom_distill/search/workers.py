"""Who runs the trials: this process, one after another."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from atom_distill.base.device import pick_device
from atom_distill.search.data import SearchData
from atom_distill.search.trial import Outcome, Trial, run_trial


class Workers(Protocol):
    """Runs trials, in whatever order and wherever."""

    @property
    def device(self) -> str:
        """What networks train on: "cpu", "cuda" or "mps"."""

    @property
    def description(self) -> str:
        """Say for people who runs the trials."""

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """Yield each trial with its outcome as soon as it is finished."""

    def close(self) -> None:
        """Let go of what was taken."""


class InProcess:
    """Runs trials here.

    Args:
        data: images.
        device: where networks train, by name.
        threads: of the processor, for each trial.

    Raises:
        ConfigError: there is no such device.
    """

    def __init__(self, data: SearchData, device: str = "auto", threads: int = 1) -> None:
        self._data, self._threads = data, threads
        self._place = pick_device(device)

    @property
    def device(self) -> str:
        """See `Workers.device`."""
        return self._place.type

    @property
    def description(self) -> str:
        """See `Workers.description`."""
        return f"one after another on {self._place}, processor threads: {self._threads}"

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """See `Workers.run`."""
        for trial in trials:
            yield trial, run_trial(trial, self._data, str(self._place), self._threads)

    def close(self) -> None:
        """See `Workers.close`."""

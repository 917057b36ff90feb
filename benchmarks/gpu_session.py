"""A session of measurements: parts in processes of their own, whose results are in one JSON file after every case."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from atom_distill.base.files import write_json
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.base.sources import sources_digest

_TO_STOP = 5.0
"""Seconds that a part has to end by itself after its time."""


@dataclass(frozen=True)
class Session:
    """What a part needs to know.

    Attributes:
        results: JSON file of all parts.
        runs: folder for run folders and logs.
        device: "cuda", "cpu", ...
        small: whether a few steps on the digits stand for the real cases.
        ends: when the session is over, seconds since the epoch.
        identity: what results must share to stand for each other.
        part: name of the part that is under way.
    """

    results: Path
    runs: Path
    device: str
    small: bool
    ends: float
    identity: Mapping[str, Any]
    part: str = ""

    @property
    def seconds_left(self) -> float:
        """Until the session is over."""
        return self.ends - time.time()

    def done(self, case: str) -> bool:
        """Return whether a case of this part has been measured."""
        return "error" not in self._cases().get(case, {"error": ""})

    def case(self, name: str, measure: Callable[[], Mapping[str, Any]], *, again: bool = False) -> None:
        """Measure a case of this part, unless that was done before; an error is kept, and the others go on.

        Args:
            name: of the case.
            measure: returns its figures.
            again: whether to replace earlier figures.
        """
        if self.done(name) and not again:
            return
        started = time.perf_counter()
        try:
            values = dict(measure())
        except Exception as error:
            traceback.print_exc()
            values = {"error": " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])}
        self.add(name, values if again else {**values, "total_s": round(time.perf_counter() - started, 1)})

    def add(self, case: str, values: Mapping[str, Any]) -> None:
        """Write the figures of a case of this part."""
        self._write({"cases": {**self._cases(), case: dict(values)}})
        print(f"{self.part}: {case}: {dict(values)}", flush=True)

    def cases(self) -> dict[str, dict[str, Any]]:
        """Return the figures of this part so far, by the name of the case."""
        return dict(self._cases())

    def run(self, part: Part, command: Sequence[str]) -> None:
        """Run a part in a process of its own until its time is over, and write how it ended."""
        mine = replace(self, part=part.name)
        if mine._state().get("identity") != self.identity:
            begun = {"identity": self.identity, "record": run_record(), "cases": {}, "seconds": 0.0}
            mine._write({**begun, "state": "under way"})
        limit = min(part.limit, self.seconds_left)
        note(f"{part.name}: {limit:.0f} s at most")
        log, started = self.runs / "logs" / f"{part.name}.log", time.time()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file, _group(command, file.fileno()) as process:
            try:
                state = "finished" if process.wait(limit) == 0 else f"failed, see {log}"
            except subprocess.TimeoutExpired:
                state = "out of time"
        if state == "finished" and any("error" in values for values in mine._cases().values()):
            state = f"finished with errors, see {log}"
        mine._write({"state": state, "seconds": round(mine._state()["seconds"] + time.time() - started, 1)})

    def is_finished(self, part: Part) -> bool:
        """Return whether a part was finished with these sources on this card."""
        state = replace(self, part=part.name)._state()
        return state.get("identity") == self.identity and state.get("state") == "finished"

    def content(self) -> dict[str, Any]:
        """Return what the file holds: parts by name."""
        return json.loads(self.results.read_text()) if self.results.exists() else {"parts": {}}

    def _state(self) -> dict[str, Any]:
        return dict(self.content()["parts"].get(self.part, {}))

    def _cases(self) -> dict[str, dict[str, Any]]:
        return dict(self._state().get("cases", {}))

    def _write(self, changes: Mapping[str, Any]) -> None:
        content = self.content()
        parts = {**content["parts"], self.part: {**self._state(), **changes}}
        write_json(self.results, {**content, "parts": parts})


@dataclass(frozen=True)
class Part:
    """A part of a session.

    Attributes:
        name: for `--only` and `--skip`.
        measure: measures its cases.
        needs: seconds below which it is not begun.
        limit: seconds after which it is stopped.
    """

    name: str
    measure: Callable[[Session], None]
    needs: float
    limit: float


def identity_of(device: str, *, small: bool) -> dict[str, Any]:
    """Return what results must share to stand for each other: the package's sources, the card, the size of cases."""
    on_gpu = torch.device(device).type == "cuda"
    card = torch.cuda.get_device_name(device) if on_gpu else f"{device}: {run_record()['machine']}"
    return {"sources": sources_digest(), "card": card, "small": small}


@contextlib.contextmanager
def _group(command: Sequence[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, and stop it and all that it has started at the end of the block."""
    process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TO_STOP)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def this_script(*options: str) -> list[str]:
    """Return the command that runs the present script with other options."""
    return [sys.executable, str(Path(sys.argv[0]).resolve()), *options]

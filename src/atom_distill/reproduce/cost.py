"""Time and memory of a step, measured in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from atom_distill.base.errors import AtomError
from atom_distill.reproduce.cell import Cell

_WARM_UP = 2
"""Steps that are not timed: they compile."""


class Cost(BaseModel):
    """Time and memory of a method's step.

    Attributes:
        row, column: its place in the table.
        seconds_per_step: wall clock, without start and end of a run.
        peak_mb: peak resident memory of the process, MiB; on a GPU, peak GPU memory.
        steps: number of timed steps.
        settings: of the distillation, as given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    column: str
    seconds_per_step: float
    peak_mb: float
    steps: int
    settings: dict[str, Any]


def measure(cell: Cell, steps: int) -> Cost:
    """Return what a step of a cell costs, over `steps` steps.

    Raises:
        AtomError: the process failed, and the message is its last line; or `steps` are too few.
    """
    case = json.dumps({"dataset": cell.dataset, "settings": dict(cell.settings), "steps": steps})
    done = subprocess.run([sys.executable, "-m", __name__, case], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AtomError(f"{cell.name} could not be measured: {reason[0]}")
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    if measured["seconds_per_step"] <= 0:
        raise AtomError(f"{cell.name} is too fast to be timed in {steps} steps: give more `steps`")
    return Cost(row=cell.row, column=cell.column, steps=steps, settings=dict(cell.settings), **measured)


def _probe(case: Mapping[str, Any]) -> dict[str, float]:
    """Measure in this process: a run that compiles, then a short run and a long one, whose difference counts."""
    from atom_distill.api import distill
    from atom_distill.base.device import pick_device
    from atom_distill.base.peak_memory import PeakMemory
    from atom_distill.data.load import load_dataset

    dataset = load_dataset(case["dataset"])

    def seconds(steps: int) -> float:
        started = time.perf_counter()
        distill(dataset, show_progress=False, **{**case["settings"], "steps": steps, "compile": "on"})
        return time.perf_counter() - started

    with PeakMemory(pick_device("auto")) as peak:
        seconds(_WARM_UP)
        short = seconds(_WARM_UP)
        per_step = (seconds(_WARM_UP + case["steps"]) - short) / case["steps"]
    return {"seconds_per_step": per_step, "peak_mb": peak.mib}


if __name__ == "__main__":
    from atom_distill.base.cache_folder import compiled_code_folder
    from atom_distill.base.process import tune_process

    tune_process(compiled_code=compiled_code_folder())
    try:
        measured = _probe(json.loads(sys.argv[1]))
    except AtomError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(measured) + "\n")

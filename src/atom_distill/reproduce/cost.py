"""What a step costs: timed in a process of its own, so that its peak memory is its own."""

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
"""Steps whose time does not count: they compile."""


class Cost(BaseModel):
    """What a method's step costs.

    Attributes:
        row, column: where it stands.
        seconds_per_step: wall clock, evaluation and start left out.
        peak_mb: most resident memory of the process, MiB; on a GPU, most of its own memory.
        steps: timed.
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
    """Time `steps` steps of a cell.

    Raises:
        AtomError: the process failed; the message is its last line.
    """
    case = json.dumps({"dataset": cell.dataset, "settings": dict(cell.settings), "steps": steps})
    done = subprocess.run([sys.executable, "-m", __name__, case], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise AtomError(f"{cell.name} could not be measured: {reason[0]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if found["seconds_per_step"] <= 0:
        raise AtomError(f"{cell.name} is too fast to be timed in {steps} steps: give more --steps")
    return Cost(row=cell.row, column=cell.column, steps=steps, settings=dict(cell.settings), **found)


def _probe(case: Mapping[str, Any]) -> dict[str, float]:
    """Run in this process: a few steps that compile, then the steps that count."""
    from atom_distill.api import distill
    from atom_distill.base.device import pick_device
    from atom_distill.base.peak_memory import PeakMemory
    from atom_distill.data.load import load_dataset

    dataset = load_dataset(case["dataset"])

    def seconds(steps: int) -> float:
        started = time.perf_counter()
        given = {**case["settings"], "steps": steps, "compile": "on"}
        distill(dataset, show_progress=False, **given)
        return time.perf_counter() - started

    with PeakMemory(pick_device("auto")) as peak:
        seconds(_WARM_UP)
        without = seconds(_WARM_UP)
        per_step = (seconds(_WARM_UP + case["steps"]) - without) / case["steps"]
    return {"seconds_per_step": per_step, "peak_mb": peak.mib}


if __name__ == "__main__":
    from atom_distill.base.files import cache_root
    from atom_distill.base.process import tune_process

    tune_process(compiled_code=cache_root() / "compiled")
    try:
        measured = _probe(json.loads(sys.argv[1]))
    except AtomError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(measured) + "\n")

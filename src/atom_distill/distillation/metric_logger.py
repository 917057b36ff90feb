"""The metrics of a run as it goes: `metrics.jsonl`, and TensorBoard files where they are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from atom_distill.artifact.folder import METRICS_FILE, load_history, save_history


class MetricLogger:
    """Writes one JSON object per line: step (steps done), loss, its terms if several, and evaluations.

    Args:
        folder: of the run; None keeps the entries in memory only.
        resumed_at: steps done by the state that the run continues from; later lines are dropped, since they are about
            to be written again.
        tensorboard: whether to write files for TensorBoard, too.
    """

    def __init__(self, folder: Path | None, resumed_at: int, *, tensorboard: bool = False) -> None:
        self.entries: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        self._board: Any = None
        if folder is None:
            return
        self.entries = [entry for entry in load_history(folder) if entry["step"] <= resumed_at]
        save_history(folder, self.entries)
        self._file = (folder / METRICS_FILE).open("a", encoding="utf-8")
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            board = folder / "tensorboard"
            self._board = SummaryWriter(str(board), purge_step=resumed_at + 1)

    def write(self, step: int, loss: float, terms: Mapping[str, float], **values: float) -> None:
        """Write the loss of step number `step`, its terms by name, and other values after that step."""
        several = {name: float(f"{value:.7g}") for name, value in terms.items()} if len(terms) > 1 else {}
        entry = {"step": step, "loss": loss, **({"terms": several} if several else {}), **values}
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        if self._board is not None:
            scalars = {"loss": loss, **{f"terms/{name}": value for name, value in several.items()}, **values}
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)

    def __enter__(self) -> MetricLogger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

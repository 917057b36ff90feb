"""The state of a run between two steps, and its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.base.errors import ArtifactError
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.base.tensors import checksum, write_tensors
from atom_distill.ops.parameterization import Stored

_KEPT = 2
"""Checkpoints kept: the newest, and the one before it in case the newest is damaged."""
_STORED, _AVERAGE, _BEST, _OPTIMIZER, _FORM = "stored.", "average.", "best.", "optimizer.", "form."
"""Prefixes of the names of tensors in a file."""
_PER_CLASS = "images_per_class"
_FIRST_FORMAT = {"images": "stored.images", "average": "average.images", "best_images": "best.images"}
"""Names in the checkpoints of version 0.1, which held images only, and what they are called today."""


@dataclass(frozen=True, eq=False)
class Best:
    """The best set so far by accuracy on held-out training images.

    Attributes:
        stored: stored values by name, float32 [R, ...].
        step: number of steps done when it was evaluated.
        accuracy: percent.
    """

    stored: Stored
    step: int
    accuracy: float


@dataclass(frozen=True, eq=False)
class RunState:
    """All that the next step depends on, besides the settings.

    Attributes:
        step: steps done.
        stored: stored values by name, float32 [R, ...], class after class.
        optimizer: tensors of its state by "name of the stored tensor.torch's name"; empty before the first step.
        average: of the stored values over the steps, where the settings ask for it.
        best: where there are evaluations.
        seconds: wall clock of the steps done, evaluations included; steps lost by a kill are not counted.
        form: what the parameterization is fitted to (`Parameterization.tensors`).
        images_per_class: decoded images of each class, int64 [K]; None in checkpoints of version 0.1.
    """

    step: int
    stored: Stored
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    average: Stored | None = None
    best: Best | None = None
    seconds: float = 0.0
    form: Mapping[str, Tensor] = field(default_factory=dict)
    images_per_class: Tensor | None = None

    def map_rows(self, change: Callable[[Tensor], Tensor]) -> RunState:
        """Return the state with a function applied to every tensor that has a row for each stored image.

        The best set is left alone: it is of all classes on every rank.
        """
        return replace(
            self,
            stored=_mapped(change, self.stored),
            optimizer={name: change(tensor) if tensor.ndim else tensor for name, tensor in self.optimizer.items()},
            average=None if self.average is None else _mapped(change, self.average),
        )

    @property
    def result(self) -> Stored:
        """The result if the run ended here: the average if there is one, else the stored values."""
        return self.stored if self.average is None else self.average


def _mapped(change: Callable[[Tensor], Tensor], stored: Stored) -> dict[str, Tensor]:
    return {name: change(tensor) for name, tensor in stored.items()}


def save_checkpoint(folder: Path, state: RunState) -> Path:
    """Write `checkpoint-NNNNNN.safetensors` atomically, then drop all but the newest two; return its path."""
    tensors = _prefixed(_STORED, state.stored) | _prefixed(_OPTIMIZER, state.optimizer)
    tensors |= _prefixed(_FORM, state.form)
    metadata: dict[str, float] = {"step": state.step, "seconds": round(state.seconds, 3)}
    if state.images_per_class is not None:
        tensors[_PER_CLASS] = state.images_per_class
    if state.average is not None:
        tensors |= _prefixed(_AVERAGE, state.average)
    if state.best is not None:
        tensors |= _prefixed(_BEST, state.best.stored)
        metadata |= {"best_step": state.best.step, "best_accuracy": state.best.accuracy}
    metadata["crc32"] = checksum(tensors)
    path = folder / f"checkpoint-{state.step:06d}.safetensors"
    write_tensors(path, tensors, {"state": json.dumps(metadata)})
    for old in checkpoints(folder)[:-_KEPT]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Return the folder's checkpoints, oldest first."""
    return sorted(filter(_has_step, folder.glob("checkpoint-*.safetensors")), key=_step)


def last_step(folder: Path) -> int:
    """Return the steps done at the newest checkpoint, 0 where there is none."""
    return max((_step(path) for path in checkpoints(folder)), default=0)


def load_newest_checkpoint(folder: Path, rows: int | None = None) -> RunState | None:
    """Return the newest readable state, or None where there is no checkpoint.

    Args:
        folder: of the run.
        rows: stored rows R that the run has; None if the caller does not know.

    Raises:
        ArtifactError: there are checkpoints and none can be read.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return _load(path, rows)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            note(f"checkpoint {path} is damaged ({error}); trying the one before")
    if found:
        raise ArtifactError(
            f"no checkpoint in {folder} can be read, so the run cannot be continued: give another `out`"
        )
    return None


def _has_step(path: Path) -> bool:
    """Return whether a file is a checkpoint of a run, and not a copy that somebody renamed."""
    return path.stem.removeprefix("checkpoint-").isdecimal()


def _step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _load(path: Path, rows: int | None) -> RunState:
    with safe_open(path, framework="pt") as file:
        metadata = parse_json(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if "crc32" in metadata and metadata["crc32"] != checksum(tensors):  # version 0.1 had none
        raise ValueError("its checksum differs")
    if "images" in tensors:
        tensors = {_today(name): tensor for name, tensor in tensors.items()}
    per_class, form = tensors.pop(_PER_CLASS, None), _without(_FORM, tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_FORM)}
    prefixes = (_STORED, _AVERAGE, _BEST, _OPTIMIZER)
    strange = [name for name in tensors if not name.startswith(prefixes)]
    if strange:
        raise ValueError(f"it has the unknown tensor {strange[0]!r}")
    stored, average, best, optimizer = (_without(prefix, tensors) for prefix in prefixes)
    if not stored or any(len(values) == 0 for values in stored.values()):
        raise ValueError("it has no stored values")
    rows = len(next(iter(stored.values()))) if rows is None else rows
    for name, tensor in tensors.items():
        # An optimizer has numbers, too, such as its count of steps.
        if tensor.shape[:1] != (rows,) and not (name.startswith(_OPTIMIZER) and tensor.ndim == 0):
            raise ValueError(f"its tensor {name!r} is not of {rows} rows")
    return RunState(
        step=metadata["step"],
        stored=stored,
        optimizer=optimizer,
        average=average or None,
        best=Best(best, metadata["best_step"], metadata["best_accuracy"]) if best else None,
        seconds=float(metadata.get("seconds", 0)),
        form=form,
        images_per_class=per_class,
    )


def _today(name: str) -> str:
    """Return what a tensor of a version 0.1 checkpoint is called today."""
    if name.startswith(_OPTIMIZER):
        return f"{_OPTIMIZER}images.{name.removeprefix(_OPTIMIZER)}"
    return _FIRST_FORMAT.get(name, name)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

"""The state of a run between two steps, and its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.base.errors import ArtifactError
from atom_distill.base.progress import note
from atom_distill.base.tensors import write_tensors

_KEPT = 2
"""Checkpoints kept: the newest, and the one before it in case the newest is damaged."""
_KNOWN = {"images", "average", "best_images"}
_OPTIMIZER = "optimizer."
"""Before the names of the optimizer's tensors."""


@dataclass(frozen=True)
class Best:
    """The best set so far by accuracy on held-out training images.

    Attributes:
        images: float32 [M, C, H, W].
        step: after how many steps it was seen.
        accuracy: percent.
    """

    images: Tensor
    step: int
    accuracy: float


@dataclass(frozen=True)
class RunState:
    """All that the next step depends on, besides the settings.

    Attributes:
        step: steps done.
        images: float32 [M, C, H, W].
        optimizer: its tensors by torch's names; empty before the first step.
        average: of the images over the steps, same shape, where the settings ask for it.
        best: where there are evaluations.
        seconds: wall clock of the steps done, evaluations included; those that a kill has undone are not counted.
    """

    step: int
    images: Tensor
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    average: Tensor | None = None
    best: Best | None = None
    seconds: float = 0.0

    def of_images(self, change: Callable[[Tensor], Tensor]) -> RunState:
        """Apply a function to every tensor that has a row for each image, but for the best ones."""
        return replace(
            self,
            images=change(self.images),
            optimizer={name: change(tensor) if tensor.ndim else tensor for name, tensor in self.optimizer.items()},
            average=None if self.average is None else change(self.average),
        )

    @property
    def result(self) -> Tensor:
        """What the run would give if it ended here: the average if there is one, else the images."""
        return self.images if self.average is None else self.average


def save_checkpoint(folder: Path, state: RunState) -> Path:
    """Write `checkpoint-NNNNNN.safetensors` atomically, then drop all but the newest two; return its path."""
    tensors = {"images": state.images} | {_OPTIMIZER + name: tensor for name, tensor in state.optimizer.items()}
    metadata: dict[str, float] = {"step": state.step, "seconds": round(state.seconds, 3)}
    if state.average is not None:
        tensors["average"] = state.average
    if state.best is not None:
        tensors["best_images"] = state.best.images
        metadata |= {"best_step": state.best.step, "best_accuracy": state.best.accuracy}
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


def load_newest_checkpoint(folder: Path) -> RunState | None:
    """Return the newest readable state, or None where there is no checkpoint.

    Raises:
        ArtifactError: there are checkpoints and none can be read.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return _load(path)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            note(f"checkpoint {path} is damaged ({error}); trying the one before")
    if found:
        raise ArtifactError(
            f"no checkpoint in {folder} can be read; remove the folder and start again, or give another --out"
        )
    return None


def _has_step(path: Path) -> bool:
    """Tell ours from a copy that someone put aside under another name."""
    return path.stem.removeprefix("checkpoint-").isdecimal()


def _step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _load(path: Path) -> RunState:
    with safe_open(path, framework="pt") as stored:
        metadata = json.loads(stored.metadata()["state"])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
    best = None
    if "best_images" in tensors:
        best = Best(tensors["best_images"], metadata["best_step"], metadata["best_accuracy"])
    strange = [name for name in tensors if name not in _KNOWN and not name.startswith(_OPTIMIZER)]
    if strange:
        raise ValueError(f"it has the unknown tensor {strange[0]!r}")
    optimizer = {
        name.removeprefix(_OPTIMIZER): tensor for name, tensor in tensors.items() if name.startswith(_OPTIMIZER)
    }
    seconds = float(metadata.get("seconds", 0))
    return RunState(metadata["step"], tensors["images"], optimizer, tensors.get("average"), best, seconds)

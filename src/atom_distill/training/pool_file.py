"""The file of one network of a pool: its weights after each epoch, and where its training stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.base.cache_folder import writable
from atom_distill.base.progress import note
from atom_distill.base.tensors import checksum, write_tensors
from atom_distill.models.network import Network
from atom_distill.training.train import TrainingState

_SECONDS = "seconds"
_WEIGHTS, _OPTIMIZER = "weights.", "momenta."
"""How the names of tensors begin; a finished network has none of an optimizer."""
_CHECKSUM = "crc32"
"""In the metadata of a file, since safetensors would not notice values that have changed."""


@dataclass
class Trajectory:
    """A network in training.

    Attributes:
        snapshots: its parameters and buffers after each epoch, by name, on the CPU.
        state: where its training stands.
        seconds: wall-clock time of its training; NaN for one that an earlier version began.
    """

    snapshots: list[Mapping[str, Tensor]] = field(default_factory=list)
    state: TrainingState = field(default_factory=TrainingState)
    seconds: float = 0.0

    def add(self, network: Network) -> None:
        """Take a snapshot."""
        self.snapshots.append({name: values.detach().cpu().clone() for name, values in network.state_dict().items()})

    def resume(self, network: Network) -> None:
        """Load the newest snapshot, if there is one."""
        if self.snapshots:
            network.load_state_dict(self.snapshots[-1])

    def write(self, path: Path, *, finished: bool) -> None:
        """Write all snapshots, and for an unfinished network those of the optimizer, atomically."""
        tensors = {_WEIGHTS + name: torch.stack([of[name] for of in self.snapshots]) for name in self.snapshots[0]}
        if not finished:
            tensors |= {_OPTIMIZER + name: values for name, values in self.state.optimizer.items()}
        write_tensors(writable(path), tensors, {_SECONDS: f"{self.seconds:.1f}", _CHECKSUM: str(checksum(tensors))})


def read_trajectory(path: Path, network: Network) -> Trajectory:
    """Return what a file holds of a network in training, nothing where it is missing, or damaged, which is noted."""
    try:
        with safe_open(path, framework="pt") as file:
            # Copies: the tensors are views of the mapped file, which will be replaced.
            found = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            seconds = _seconds(file)
            _require_intact(file, found)
        stacks = {name: found[_WEIGHTS + name] for name in network.state_dict()}
        epochs = min(len(stack) for stack in stacks.values())
        snapshots = [{name: stack[epoch] for name, stack in stacks.items()} for epoch in range(epochs)]
        optimizer = {_today(name): found[name] for name in found if name.startswith(_OPTIMIZER)}
        network.load_state_dict(snapshots[-1])
    except FileNotFoundError:
        return Trajectory()
    except (SafetensorError, KeyError, ValueError, IndexError, RuntimeError, OSError):
        note(f"the cached network {path} is damaged; training it again")
        return Trajectory()
    return Trajectory([*snapshots], TrainingState(epochs, optimizer), seconds)


def _today(name: str) -> str:
    """Return what a tensor of the optimizer is called today: earlier versions had SGD's momenta alone, by number."""
    name = name.removeprefix(_OPTIMIZER)
    return name if "." in name else f"{name}.momentum_buffer"


def _seconds(file: Any) -> float:
    """Return the seconds of the training in an open file; NaN if an earlier version wrote it, without them."""
    try:
        return float((file.metadata() or {})[_SECONDS])
    except (KeyError, ValueError):
        return math.nan


def is_finished(path: Path, epochs: int) -> bool:
    """Return whether a file holds a network that is trained to the end."""
    try:
        with safe_open(path, framework="pt") as file:
            names = [*file.keys()]
            lengths = {file.get_slice(name).get_shape()[0] for name in names if name.startswith(_WEIGHTS)}
    except (SafetensorError, IndexError, OSError):
        return False
    return lengths == {epochs} and all(name.startswith(_WEIGHTS) for name in names)


def is_intact(path: Path) -> bool:
    """Return whether a file holds what was written; one without a checksum, of an earlier version, is trusted."""
    try:
        with safe_open(path, framework="pt") as file:
            _require_intact(file, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, ValueError, OSError):
        return False
    return True


def _require_intact(file: Any, tensors: Mapping[str, Tensor]) -> None:
    expected = (file.metadata() or {}).get(_CHECKSUM)
    if expected is not None and int(expected) != checksum(tensors):
        raise ValueError("the checksum differs")


class Snapshots:
    """The snapshots of a trained network, read one by one from a mapped file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file: Any = safe_open(path, framework="pt")

    @property
    def seconds(self) -> float:
        """Wall-clock time of the network's training; NaN if an earlier version trained it."""
        return _seconds(self._file)

    def read(self, name: str, epoch: int) -> Tensor:
        """Return a parameter or buffer after an epoch, counted from 0."""
        values: Tensor = self._file.get_slice(_WEIGHTS + name)[epoch]
        return values

"""The networks of an interrupted evaluation, kept in the cache so that the same evaluation continues with them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.base.cache_folder import cache_path, writable
from atom_distill.base.errors import CacheError
from atom_distill.base.progress import note
from atom_distill.base.tensors import checksum, write_tensors
from atom_distill.models.network import Network
from atom_distill.training.train import TrainingState

_SECONDS_BETWEEN_SAVES = 30.0
"""A shorter evaluation leaves nothing on disk."""
_WEIGHTS, _MOMENTA = "weights.", "momenta."
_DAMAGED = (SafetensorError, KeyError, ValueError, RuntimeError, OSError)


def place(*identity: Any) -> Path:
    """Return the cache folder of an evaluation.

    Args:
        identity: all that decides what its networks become, as JSON values.
    """
    return cache_path("evaluations", hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24])


def forget(folder: Path) -> None:
    """Remove what is kept of a finished evaluation."""
    shutil.rmtree(writable(folder), ignore_errors=True)


@dataclass
class KeptNetwork:
    """A network of an evaluation, and where its training stands.

    Attributes:
        path: of its file.
        network: which is trained.
        state: where its training stands.
        accuracy: on the test split, percent, once it is trained.
        seconds: that earlier evaluations trained it.
    """

    path: Path
    network: Network
    state: TrainingState = field(default_factory=TrainingState)
    accuracy: float | None = None
    seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _saved: float = field(default_factory=time.monotonic)
    _failed: bool = False

    def save_if_due(self) -> None:
        """Write the network as it is now, unless that was done a short time ago."""
        if time.monotonic() - self._saved >= _SECONDS_BETWEEN_SAVES:
            tensors = {_WEIGHTS + name: values for name, values in self.network.state_dict().items()}
            self._write(tensors | {f"{_MOMENTA}{index}": values for index, values in self.state.momenta.items()})

    def finish(self, accuracy: float) -> None:
        """Keep the accuracy, if training took long enough for it to be worth it."""
        self.accuracy = accuracy
        if self.path.exists() or time.monotonic() - self._started >= _SECONDS_BETWEEN_SAVES:
            self._write({})

    def _write(self, tensors: dict[str, Tensor]) -> None:
        facts = {
            "epochs": self.state.epochs,
            "accuracy": self.accuracy,
            "seconds": self.seconds + time.monotonic() - self._started,
            "crc32": checksum(tensors),
        }
        self._saved = time.monotonic()
        try:
            path = writable(self.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, {"facts": json.dumps(facts)})
        except (OSError, CacheError) as error:  # the evaluation itself needs no disk
            if not self._failed:
                note(f"the evaluation goes on, but could not be continued if it was interrupted: {error}")
            self._failed = True


def read(path: Path, network: Network) -> KeptNetwork:
    """Return a network as its file left it, loaded into `network`; untrained if there is none, or a damaged one.

    Args:
        path: of the file.
        network: takes the weights, in place.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if facts["crc32"] != checksum(tensors):
            raise ValueError("the checksum differs")
        if facts["accuracy"] is None:
            network.load_state_dict({name: tensors[_WEIGHTS + name] for name in network.state_dict()})
    except FileNotFoundError:
        return KeptNetwork(path, network)
    except _DAMAGED:
        note(f"{path} of an interrupted evaluation is damaged; training that network again")
        return KeptNetwork(path, network)
    momenta = {int(name.removeprefix(_MOMENTA)): tensors[name] for name in tensors if name.startswith(_MOMENTA)}
    return KeptNetwork(path, network, TrainingState(facts["epochs"], momenta), facts["accuracy"], facts["seconds"])

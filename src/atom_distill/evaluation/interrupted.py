"""The networks of an interrupted evaluation, kept in the cache so that the same evaluation continues with them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.base.cache_folder import cache_path, writable
from atom_distill.base.errors import CacheError
from atom_distill.base.progress import note
from atom_distill.base.sources import sources_digest
from atom_distill.base.tensors import checksum, write_tensors
from atom_distill.training.networks import Networks
from atom_distill.training.train import TrainingState

_SECONDS_BETWEEN_SAVES = 30.0
"""An evaluation that takes no longer leaves nothing on disk."""
_DAYS_KEPT = 30
_WEIGHTS, _OPTIMIZER = "weights.", "optimizer."
_FACTS, _CHECKSUM = "facts", "crc32"
_DAMAGED = (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError)


def place(*identity: Any) -> Path:
    """Return the cache folder of an evaluation.

    Args:
        identity: all that decides what its networks become, besides the package's code; JSON values.
    """
    content = json.dumps([sources_digest(), *identity], sort_keys=True)
    return cache_path("evaluations", hashlib.sha256(content.encode()).hexdigest()[:24])


def forget(files: Iterable[Path]) -> None:
    """Remove what is kept of finished networks, and evaluations that nobody has continued for a month."""
    folders = set()
    for path in map(writable, files):
        folders.add(path.parent)
        with suppress(OSError):
            path.unlink(missing_ok=True)
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()  # unless other networks of the same evaluation are in it
        for other in folder.parent.glob("*"):
            with suppress(OSError):
                if time.time() - other.stat().st_mtime > _DAYS_KEPT * 24 * 3600:
                    shutil.rmtree(other)


@dataclass
class KeptNetworks:
    """Networks of an evaluation that train together, and where their training stands.

    Attributes:
        path: of their file.
        began: when the evaluation began, seconds since the epoch.
        state: where their training stands.
        accuracies: of each on the test split, percent, once they are trained.
        seconds: that earlier evaluations trained them.
    """

    path: Path
    began: float
    state: TrainingState = field(default_factory=TrainingState)
    accuracies: list[float] | None = None
    seconds: float = 0.0
    _started: float = field(default_factory=time.time)
    _saved: float = field(default_factory=time.time)
    _failed: bool = False

    def save_if_due(self, networks: Networks) -> None:
        """Write the networks as they are now, unless that was done a short time ago."""
        if time.time() - self._saved >= _SECONDS_BETWEEN_SAVES:
            tensors = {_WEIGHTS + name: values for name, values in networks.state().items()}
            self._write(tensors | {_OPTIMIZER + name: values for name, values in self.state.optimizer.items()})

    def finish(self, accuracies: list[float]) -> None:
        """Keep the accuracies, if the evaluation has taken long enough for that to be worth it."""
        self.accuracies = accuracies
        if self.path.exists() or time.time() - self.began >= _SECONDS_BETWEEN_SAVES:
            self._write({})

    def _write(self, tensors: dict[str, Tensor]) -> None:
        seconds = self.seconds + time.time() - self._started
        facts = json.dumps({"epochs": self.state.epochs, "accuracies": self.accuracies, "seconds": seconds})
        self._saved = time.time()
        try:
            path = writable(self.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, tensors, {_FACTS: facts, _CHECKSUM: str(_checksum(facts, tensors))})
        except (OSError, CacheError) as error:  # the evaluation itself needs no disk
            if not self._failed:
                note(f"the evaluation goes on, but cannot be resumed if it is interrupted: {error}")
            self._failed = True


def read(path: Path, networks: Networks, began: float) -> KeptNetworks:
    """Return networks as their file left them; untrained if there is none, or a damaged one.

    Args:
        path: of the file.
        networks: take the weights, in place.
        began: when the evaluation began, seconds since the epoch.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts, expected = file.metadata()[_FACTS], int(file.metadata()[_CHECKSUM])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if _checksum(facts, tensors) != expected:
            raise ValueError("the checksum differs")
        known = json.loads(facts)
        if known["accuracies"] is None:
            networks.load_state({name: tensors[_WEIGHTS + name] for name in networks.state()})
    except FileNotFoundError:
        return KeptNetworks(path, began)
    except _DAMAGED:
        note(f"{path} of an interrupted evaluation is damaged; training its networks again")
        return KeptNetworks(path, began)
    optimizer = {name.removeprefix(_OPTIMIZER): tensors[name] for name in tensors if name.startswith(_OPTIMIZER)}
    return KeptNetworks(path, began, TrainingState(known["epochs"], optimizer), known["accuracies"], known["seconds"])


def _checksum(facts: str, tensors: dict[str, Tensor]) -> int:
    return zlib.crc32(facts.encode(), checksum(tensors))

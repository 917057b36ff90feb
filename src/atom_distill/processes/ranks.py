"""The processes that work on one run together: how they find each other, share results, and add up.

`torchrun` starts them and tells each its rank in the environment. Without it there is one, and nothing is exchanged.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from atom_distill.base.errors import AtomError, ConfigError, LostRankError
from atom_distill.base.process import usable_cores
from atom_distill.base.progress import note
from atom_distill.processes.launcher import launched

Made = TypeVar("Made")

_TIMEOUT = timedelta(hours=12)
"""How long a rank waits for another, which may be decoding a large set or fitting a whitening. A rank that died is
noticed at once, by torchrun and by its connections."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
        cores: over which one process spreads independent networks on a CPU, in worker processes; 1 for none.
    """

    rank: int = 0
    size: int = 1
    cores: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process talks to the user and writes files."""
        return self.rank == 0

    def broadcast_from_rank0(self, make: Callable[[], Made]) -> Made:
        """Call `make` on rank 0 and return its result on every rank; an error there is raised on every rank."""
        if self.size == 1:
            return make()
        made: list[Any] = list(_attempt(make)) if self.is_main else [None, None]
        _or_lost(lambda: dist.broadcast_object_list(made))
        result, error = made
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def run_on_all(self, make: Callable[[], Made]) -> Made:
        """Call `make` on every rank and return each rank's own result; an error on one is raised on every rank."""
        if self.size == 1:
            return make()
        result, error = _attempt(make)
        for other in self.gather(error):
            if other is not None:
                raise other
        return result  # type: ignore[return-value]

    def rank0_first(self, make: Callable[[], Made]) -> Made:
        """Call `make` on rank 0, then on the others, which find what rank 0 has cached; return each rank's result."""
        made: list[Made] = []
        self.broadcast_from_rank0(lambda: made.append(make()))
        return self.run_on_all(lambda: made[0] if made else make())

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks, on the CPU; the argument is not changed."""
        total = tensor.detach().cpu().clone()
        if self.size > 1:
            _or_lost(lambda: dist.all_reduce(total))
        return total

    def gather(self, mine: Made) -> list[Made]:
        """Return the values of all ranks, in their order."""
        if self.size == 1:
            return [mine]
        everything: list[Any] = [None] * self.size
        _or_lost(lambda: dist.all_gather_object(everything, mine))
        return everything


_ours = Ranks()
"""Those that this program has joined; torch's process group belongs to the program as a whole, too."""


def current_ranks() -> Ranks:
    """Return the processes that this program has joined; before `join` it is alone."""
    return _ours


def join(*, use_workers: bool = False) -> Ranks:
    """Join the processes that torchrun started, if it did; from then on they work together.

    Each takes the GPU of its local rank, where the machine has one for it, as what "cuda" means from then on. The
    commands call this. A program of your own calls it once, in all its processes, and then calls `load_dataset`,
    `distill` and `evaluate` in all of them alike, since they wait for each other; other calls, such as a set's `save`,
    belong into the main process (`join().is_main`). Without it, each process works alone.

    Args:
        use_workers: where torchrun started none, train independent networks on a CPU in worker processes, as the
            commands do: those of an evaluation and of a pool, at once, on as many cores as torch has threads.
            Architectures and schedules must then be importable; what a script registers itself is not known there.

    Raises:
        ConfigError: the launcher's variables are incomplete, or the program has a process group of its own already.
    """
    global _ours  # noqa: PLW0603 (torch's process group is global, too)
    place = launched()
    if place.size == 1:
        _ours = Ranks(cores=min(torch.get_num_threads(), usable_cores()) if use_workers else 1)
    if _ours.size > 1 or place.size == 1:
        return _ours
    if dist.is_initialized():
        raise ConfigError("torch.distributed is initialized already; call atom_distill's join() first, instead")
    threads = usable_cores() // place.local_size
    if os.environ.get("OMP_NUM_THREADS") == "1" and threads > 1:  # torchrun's default: most of a large machine idles
        note(f"OMP_NUM_THREADS is 1, as torchrun sets it: each process uses {threads} threads; other numbers are kept")
        torch.set_num_threads(threads)
    # Its functions take the group that exists when they are imported as a default, and keep it alive: its threads
    # then now and then abort the end of the program, after all work is done.
    importlib.import_module("torch.distributed.nn")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    if torch.cuda.is_available() and place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    _ours = Ranks(dist.get_rank(), dist.get_world_size())
    return _ours


def leave() -> None:
    """Leave the process group, if there is one; the last thing that a program does."""
    global _ours  # noqa: PLW0603
    if _ours.size > 1:
        dist.destroy_process_group()
    _ours = Ranks()


def require_device_for_each(device: torch.device, ranks: Ranks) -> None:
    """Make sure that each rank of this machine has a device of its own.

    Raises:
        ConfigError: one particular GPU is asked for, or there are more ranks here than GPUs.
    """
    if ranks.size == 1 or device.type != "cuda":
        return
    if str(device) != "cuda":
        raise ConfigError(f"{ranks.size} processes need a GPU each: give device cuda, not {device}")
    place, gpus = launched(), torch.cuda.device_count()
    if place.local_size > gpus:
        raise ConfigError(
            f"there are {place.local_size} processes and {gpus} GPUs here: torchrun --nproc-per-node={gpus}"
        )


def _attempt(make: Callable[[], Made]) -> tuple[Made | None, Exception | None]:
    """Return the result of a call, or the error that the user can act upon."""
    try:
        return make(), None
    except (AtomError, OSError) as error:
        return None, error


def _or_lost(collective: Callable[[], object]) -> None:
    """Make a call that all ranks make.

    Raises:
        LostRankError: one of them is gone.
    """
    try:
        collective()
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise LostRankError(
            f"rank {os.environ.get('RANK')} lost the connection to another rank ({reason}); torchrun names the one "
            "that died. `atom distill` continues from the last checkpoint with --resume"
        ) from None

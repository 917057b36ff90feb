"""The processes that work on one run together: how they find each other, share what one has made, and add up.

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
from atom_distill.base.launcher import launched

Made = TypeVar("Made")

_PATIENCE = timedelta(hours=12)
"""How long a rank waits for another, which may be decoding a large set or fitting a whitening. One that died is noticed
at once, by torchrun and by its connections."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: this one's, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that talks to the user and writes files."""
        return self.rank == 0

    def share(self, make: Callable[[], Made]) -> Made:
        """Have the first rank make something, and give it to all; what goes wrong there is raised in all."""
        if self.size == 1:
            return make()
        made: list[Any] = list(_attempt(make)) if self.leads else [None, None]
        _or_lost(lambda: dist.broadcast_object_list(made))
        result, error = made
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def together(self, make: Callable[[], Made]) -> Made:
        """Have every rank make something of its own; what goes wrong on one is raised in all."""
        if self.size == 1:
            return make()
        result, error = _attempt(make)
        for other in self.collect(error):
            if other is not None:
                raise other
        return result  # type: ignore[return-value]

    def first_alone(self, make: Callable[[], Made]) -> Made:
        """Have each rank make something of its own, the first before the others: it leaves them what it cached."""
        made: list[Made] = []
        self.share(lambda: made.append(make()))
        return self.together(lambda: made[0] if made else make())

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all ranks, on the CPU; each gets the same sum, and the argument is not changed."""
        total = tensor.detach().cpu().clone()
        if self.size > 1:
            _or_lost(lambda: dist.all_reduce(total))
        return total

    def differentiable_sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all ranks where it is; a gradient flows back to all of them."""
        if self.size == 1:
            return tensor
        total: Tensor = _Sum.apply(tensor)  # type: ignore[no-untyped-call]
        return total

    def collect(self, mine: Made) -> list[Made]:
        """Give what every rank has, in their order."""
        if self.size == 1:
            return [mine]
        everybody: list[Any] = [None] * self.size
        _or_lost(lambda: dist.all_gather_object(everybody, mine))
        return everybody


_joined = False
"""Whether this program has joined the others, as torch's own group of processes is the program's."""


def ranks() -> Ranks:
    """Give the processes that this program has joined; before `join` it is alone."""
    return Ranks(dist.get_rank(), dist.get_world_size()) if _joined else Ranks()


def join() -> Ranks:
    """Join the processes that torchrun started, if it did; from then on they work together.

    The commands do it. A program of your own calls it once, in all its processes, and then makes every call of this
    library in all of them alike: `load_dataset`, `distill`, `evaluate`, and a set's `save` and `add_score`, which wait
    for each other. Without it, each process works alone.

    Raises:
        ConfigError: the launcher did not say all, or the program has a group of processes of its own already.
    """
    global _joined  # noqa: PLW0603 (the group that it speaks of is torch's, and global)
    place = launched()
    if _joined or place.size == 1:
        return ranks()
    if dist.is_initialized():
        raise ConfigError("torch.distributed is initialised already; let atom_distill's join() do it, before all else")
    if os.environ.get("OMP_NUM_THREADS") == "1":  # torchrun's default, which leaves most of a large machine idle
        torch.set_num_threads(max(1, _cores() // place.local_size))
    # Its functions take the group that is there when they are imported as a default, and would keep that from ending:
    # its threads then abort the end of the program now and then, after all is done.
    importlib.import_module("torch.distributed.nn")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    _joined = True
    return ranks()


def leave() -> None:
    """Part from the others, where there are any; the last thing that a program does."""
    global _joined  # noqa: PLW0603
    if _joined:
        dist.destroy_process_group()
        _joined = False


def gpu_of_rank(device: torch.device) -> None:
    """Give each rank of a machine a GPU of its own, as what "cuda" means from then on.

    Raises:
        ConfigError: a certain GPU is asked for, or there are more ranks here than GPUs.
    """
    if not _joined or device.type != "cuda":
        return
    if str(device) != "cuda":
        raise ConfigError(f"{dist.get_world_size()} processes have a GPU each: give --device cuda, not {device}")
    place, gpus = launched(), torch.cuda.device_count()
    if place.local_size > gpus:
        raise ConfigError(
            f"there are {place.local_size} processes and {gpus} GPUs here: torchrun --nproc-per-node={gpus}"
        )
    torch.cuda.set_device(place.local_rank)


class _Sum(torch.autograd.Function):
    """A sum over ranks, whose gradient is the sum of the gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _summed(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(tensor: Tensor) -> Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    _or_lost(lambda: dist.all_reduce(total))
    return total


def _attempt(make: Callable[[], Made]) -> tuple[Made | None, Exception | None]:
    """Make something, or say what of the user's is wrong."""
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
            "that died. `atom distill` goes on from the last checkpoint with --resume"
        ) from None


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

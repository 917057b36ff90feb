"""The processes that work on one run together: how they find each other, share what one has made, and add up.

`torchrun` starts them and tells each its rank in the environment. Without it there is one, and nothing is exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from atom_distill.base.errors import AtomError, ConfigError, LostRankError

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
        made: list[Any] = [None, None]
        if self.leads:
            try:
                made[0] = make()
            except AtomError as error:
                made[1] = error
        self._call(lambda: dist.broadcast_object_list(made))
        if made[1] is not None:
            raise made[1]
        result: Made = made[0]
        return result

    def first_alone(self, make: Callable[[], Made]) -> Made:
        """Have each rank make something of its own, the first before the others: it leaves them what it cached."""
        if self.size == 1:
            return make()
        made: list[Made] = []
        self.share(lambda: made.append(make()))  # the others get None, or the error
        return made[0] if self.leads else make()

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over all ranks, on the CPU; each gets the same sum, and the argument is not changed."""
        total = tensor.detach().cpu().clone()
        if self.size > 1:
            self._call(lambda: dist.all_reduce(total))
        return total

    def collect(self, mine: Made) -> list[Made]:
        """Give what every rank has, in their order."""
        if self.size == 1:
            return [mine]
        everybody: list[Any] = [None] * self.size
        self._call(lambda: dist.all_gather_object(everybody, mine))
        return everybody

    def _call(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise LostRankError(
                f"rank {self.rank} lost the connection to another rank ({reason[:200]}); torchrun names the one that "
                "died. To go on from the last checkpoint: the same command with --resume"
            ) from None


def ranks() -> Ranks:
    """Give the processes that torchrun started; the first call joins them.

    Raises:
        ConfigError: there are more of them on this machine than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not dist.is_available():
        return Ranks()
    if not dist.is_initialized():
        _join()
    return Ranks(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Part from the others, where there are any; the last thing that a program does."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _join() -> None:
    here, local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if here > gpus:
            raise ConfigError(f"there are {here} processes and {gpus} GPUs here: torchrun --nproc-per-node={gpus}")
        torch.cuda.set_device(local)  # what "cuda" means from here on
    if os.environ.get("OMP_NUM_THREADS") == "1":  # torchrun's default, which leaves most of a large machine idle
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // here))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)

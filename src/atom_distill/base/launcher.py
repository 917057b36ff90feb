"""What a launcher of several processes, such as torchrun, tells each of them in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from atom_distill.base.errors import ConfigError


@dataclass(frozen=True)
class Launched:
    """A process's place among those that were started together.

    Attributes:
        rank: from 0.
        size: how many there are.
        local_rank: among those of this machine.
        local_size: how many of them.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def launched() -> Launched:
    """Read the environment; where no size is given, or it is 1, this process is alone, whatever else is said.

    Raises:
        ConfigError: there are several processes, and not all is said that they need to find each other.
    """
    if os.environ.get("WORLD_SIZE", "1").strip() in ("", "1"):
        return Launched()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    values = [os.environ.get(name, "").strip() for name in names]
    address = all(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    if not (address and all(value.isascii() and value.isdigit() for value in values)):
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r}, and not all else is set that torchrun tells its processes "
            f"({', '.join(names)}, MASTER_ADDR, MASTER_PORT): start it with torchrun, or unset WORLD_SIZE"
        )
    return Launched(*map(int, values))


def is_first_process() -> bool:
    """Say whether this process talks to the user: the only one, or the first of those that were started together."""
    try:
        return launched().rank == 0
    except ConfigError:
        return True  # which is told, and by whom must not matter

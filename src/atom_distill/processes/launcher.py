"""The place of this process among those that a launcher such as torchrun started, read from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import LAUNCHER_VARIABLES, launcher_numbers


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
    """Return this process's place; without WORLD_SIZE, or with 1, it is alone, whatever else is set.

    Raises:
        ConfigError: there are several processes, and a variable is missing that they need to find each other.
    """
    numbers = launcher_numbers()
    if numbers is None:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']!r}, but some variable that torchrun sets is missing or wrong "
            f"({', '.join(LAUNCHER_VARIABLES)}, MASTER_ADDR, MASTER_PORT): start it with torchrun, or unset WORLD_SIZE"
        )
    return Launched(*numbers)

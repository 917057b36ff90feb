"""Where the network of each step comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from atom_distill.base.errors import ConfigError
from atom_distill.base.plugins import find
from atom_distill.base.registry import Registry
from atom_distill.base.seeding import generator
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.training.pool import Pool, draw_epoch


class NetworkSource(ABC):
    """Sets the network of a step as a function of (seed, step) alone, so that a run can be resumed at any step.

    Args:
        seed: the run's seed.
        pool: trained networks, cached before the first step; None if the run has none.
    """

    def __init__(self, seed: int, pool: Pool | None = None) -> None:
        self.seed, self.pool = seed, pool

    @abstractmethod
    def load(self, network: Network, step: int) -> None:
        """Set every parameter and buffer to the values of a step, and set train or eval mode.

        In place, since compiled code and captured graphs refer to the tensors.

        Args:
            network: a network of the run's architecture.
            step: counted from 0.
        """


class FreshNetworks(NetworkSource):
    """Randomly initialized networks in train mode, a new one at each step, as in DM, DataDAM and ATOM."""

    def load(self, network: Network, step: int) -> None:
        """See `NetworkSource.load`."""
        reinitialize(network, generator(self.seed, "network", step))
        network.train()


class SnapshotNetworks(NetworkSource):
    """Trained networks in train mode: at each step one of the pool, after one of its epochs.

    Raises:
        ConfigError: there is no pool.
    """

    name = "snapshot"

    def __init__(self, seed: int, pool: Pool | None = None) -> None:
        super().__init__(seed, pool)
        if pool is None:
            raise ConfigError(f"`networks={self.name}` needs a pool of trained networks: give `pool=2` or so")
        self._pool = pool

    def load(self, network: Network, step: int) -> None:
        """See `NetworkSource.load`."""
        random = generator(self.seed, "pool", step)
        number, epoch = draw_epoch(random, self._pool.recipe.networks, range(self._pool.recipe.epochs))
        self._pool.load(network, number, epoch, self._share(random))
        network.train()

    def _share(self, random: torch.Generator) -> float:
        return 1.0


class InterpolatedNetworks(SnapshotNetworks):
    """Networks between fresh and trained: (1 - u) initial weights + u snapshot, with u uniform in [0, 1).

    Source: the "middle encoders" of DANCE (arXiv 2406.01063), with u drawn uniformly.
    """

    name = "interpolated"

    def _share(self, random: torch.Generator) -> float:
        return float(torch.rand((), generator=random))


Builder = Callable[[int, Pool | None], NetworkSource]
"""From the run's seed and its pool to a source: its class, or a function."""
NETWORK_SOURCES: Registry[Builder] = Registry("network source")
NETWORK_SOURCES.register("fresh")(FreshNetworks)
for _source in (SnapshotNetworks, InterpolatedNetworks):
    NETWORK_SOURCES.register(_source.name)(_source)


def build_network_source(name: str, seed: int, pool: Pool | None = None) -> NetworkSource:
    """Return a source by its registered name, or by "package.module:name".

    Raises:
        UnknownNameError: there is no such one.
    """
    return find(NETWORK_SOURCES, name, Callable)(seed, pool)  # type: ignore[arg-type]

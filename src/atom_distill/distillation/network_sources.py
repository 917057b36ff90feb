"""Where the network of each step comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from atom_distill.base.plugins import find
from atom_distill.base.registry import Registry
from atom_distill.base.seeding import generator
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network


class NetworkSource(ABC):
    """Brings the network of a step, as a function of (seed, step) alone, so that a run can be resumed at any step.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    @abstractmethod
    def load(self, network: Network, step: int) -> None:
        """Set every parameter and buffer to the values of a step, and set train or eval mode.

        In place: compiled code and captured graphs refer to the tensors.

        Args:
            network: of the run's architecture.
            step: counted from 0.
        """


class FreshNetworks(NetworkSource):
    """Randomly initialized networks in train mode, a new one at each step, as in DM, DataDAM and ATOM."""

    def load(self, network: Network, step: int) -> None:
        """See `NetworkSource.load`."""
        reinitialize(network, generator(self.seed, "network", step))
        network.train()


Builder = Callable[[int], NetworkSource]
"""From the run's seed to a source: its class, or a function."""
NETWORK_SOURCES: Registry[Builder] = Registry("network source")
NETWORK_SOURCES.register("fresh")(FreshNetworks)


def build_network_source(name: str, seed: int) -> NetworkSource:
    """Return a source by its registered name, or by "package.module:name".

    Raises:
        UnknownNameError: there is no such one.
    """
    return find(NETWORK_SOURCES, name, Callable)(seed)  # type: ignore[arg-type]

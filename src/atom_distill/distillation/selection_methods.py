"""Methods that take real images as they are: the baselines of every table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.config.distill import DistillConfig
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import random_subset
from atom_distill.distillation.images_per_class import images_per_class
from atom_distill.ops.coresets import herding, k_center, most_forgotten
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.training.reference_network import ReferenceNetwork, reference_network


class Candidates:
    """The training images to choose from, and what a network trained on all of them says of each.

    Args:
        dataset: its training split.
        preprocessing: between pixels and the network.
        config: the run's settings.
        show_progress: draw a bar while the network is trained.
    """

    def __init__(
        self, dataset: ImageDataset, preprocessing: Preprocessing, config: DistillConfig, *, show_progress: bool
    ) -> None:
        self.dataset, self.seed = dataset, config.seed
        self.per_class = images_per_class(dataset, config.ipc, config.budget)
        self._preprocessing, self._config, self._show_progress = preprocessing, config, show_progress

    @cached_property
    def network(self) -> ReferenceNetwork:
        """The network, trained when it is first asked for."""
        return reference_network(self.dataset, self._preprocessing, self._config, show_progress=self._show_progress)

    def class_by_class(self, choose: Callable[[int, Tensor, int], Tensor]) -> Tensor:
        """Choose in each class.

        Args:
            choose: from a label, the indices [n] of its images and how many are wanted, to places in the indices.

        Returns:
            Indices into the training split, int64 [M], class after class.
        """
        classes = zip(self.dataset.class_indices(), self.per_class.tolist(), strict=True)
        return torch.cat([indices[choose(label, indices, count)] for label, (indices, count) in enumerate(classes)])

    @property
    def description(self) -> dict[str, Any]:
        """What the choice rests on, for the record."""
        return self.network.description if "network" in self.__dict__ else {}


@dataclass(frozen=True)
class Selection:
    """A method that chooses real images.

    Attributes:
        choose: gives indices into the training split, int64 [M], class after class.
    """

    choose: Callable[[Candidates], Tensor]


def at_random(candidates: Candidates) -> Tensor:
    """Draw without replacement."""
    return random_subset(candidates.dataset, candidates.per_class, candidates.seed)


def by_herding(candidates: Candidates) -> Tensor:
    """Keep the mean embedding of the chosen near that of the class."""
    embeddings = candidates.network.embeddings
    return candidates.class_by_class(lambda _, indices, count: herding(embeddings(indices), count))


def by_k_center(candidates: Candidates) -> Tensor:
    """Leave no image of the class far from a chosen one."""
    embeddings = candidates.network.embeddings
    return candidates.class_by_class(lambda _, indices, count: k_center(embeddings(indices), count))


def by_forgetting(candidates: Candidates) -> Tensor:
    """Take what the network kept unlearning."""

    def choose(label: int, indices: Tensor, count: int) -> Tensor:
        between_equals = generator(candidates.seed, "forgetting", label)
        return most_forgotten(candidates.network.events[indices], count, between_equals)

    return candidates.class_by_class(choose)

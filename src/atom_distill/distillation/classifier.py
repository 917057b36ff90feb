"""A trained network in which synthetic images are classified, besides the one whose statistics are matched."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.compilation import CompiledOrEager
from atom_distill.base.seeding import generator
from atom_distill.distillation.matching_execution import MatchingExecution
from atom_distill.models.convolution import compute_input_gradients_in
from atom_distill.models.initialization import laid_out
from atom_distill.models.network import Network
from atom_distill.training.pool import Pool, draw_epoch


class Classifier:
    """The cross-entropy of synthetic images in a late snapshot of the pool, drawn from (seed, step).

    The network is in eval mode, so that no image influences another's loss.

    Args:
        pool: trained networks.
        seed: the run's seed.
        weight: of the loss.
        execution: device, compilation and layout.
    """

    name = "cross-entropy"

    def __init__(self, pool: Pool, seed: int, weight: float, execution: MatchingExecution) -> None:
        self._pool, self._seed, self._weight = pool, seed, weight
        self._format = execution.memory_format
        self._dtype = execution.synthetic_dtype
        self._network = laid_out(pool.new_network().to(execution.device, self._dtype), self._format).eval()
        self._network.requires_grad_(False)
        if execution.low_input_gradients:
            compute_input_gradients_in(torch.bfloat16, self._network)
        self._cross_entropy = CompiledOrEager(_cross_entropy_in(self._network), execution.compiled)

    def load(self, step: int) -> None:
        """Load the network of a step; its tensors stay where they are."""
        random = generator(self._seed, "classifier", step)
        number, epoch = draw_epoch(random, self._pool.recipe.networks, self._pool.late_epochs)
        self._pool.load(self._network, number, epoch)

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted loss of each image [B, C, H, W] with labels int64 [B], float32 [B], differentiable."""
        return self._weight * self._cross_entropy(images.to(self._dtype, memory_format=self._format), labels)


def _cross_entropy_in(network: Network) -> Callable[[Tensor, Tensor], Tensor]:
    def cross_entropy(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(network(images).float(), labels, reduction="none")

    return cross_entropy

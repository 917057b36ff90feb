"""The network of a step as two functions: matching vectors of real images, and of synthetic ones.

The real branch needs no gradient: it runs in low precision where that is fast. The synthetic branch runs in float32, or
in low precision on request.
Each is one function, so that it can be compiled as a whole: fusing norm, activation, powers, sums and pooling gains
more than anything else here, since they are all memory traffic.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.compilation import CompiledOrEager
from atom_distill.distillation.matching_execution import MatchingExecution
from atom_distill.distillation.network_sources import NetworkSource
from atom_distill.models.convolution import compute_input_gradients_in
from atom_distill.models.initialization import laid_out
from atom_distill.models.network import Network
from atom_distill.ops.matching import (
    Objective,
    StatisticsOf,
    Term,
    matching_vector,
    terms_of,
    unique_names,
    weighted_losses,
)


class Encoder:
    """A network that is loaded anew at each step, and what the objective takes from its features.

    Args:
        network: of any architecture; it is moved to the device, and loaded by `load`.
        objective: of the method.
        source: of the networks.
        execution: device, precision and compilation.

    Attributes:
        compiled: whether torch.compile is tried.
    """

    def __init__(
        self, network: Network, objective: Objective, source: NetworkSource, execution: MatchingExecution
    ) -> None:
        self._format, self.compiled = execution.memory_format, execution.compiled
        self._network = laid_out(network.to(execution.device), self._format).train()
        # The network's weights get no gradient: only what is stored is optimized.
        self._network.requires_grad_(False)
        self._low_gradients = execution.low_input_gradients
        if self._low_gradients:
            compute_input_gradients_in(torch.bfloat16, self._network)
        self._objective, self._source = objective, source
        self._terms: tuple[Term, ...] | None = None
        self._loss_names: tuple[str, ...] = ()
        self._real_dtype, self._synthetic_dtype = execution.real_dtype, execution.synthetic_dtype
        low = {self._real_dtype, self._synthetic_dtype} - {torch.float32}
        self._twins = {dtype: copy.deepcopy(self._network).to(dtype) for dtype in low}
        of_dtype = {torch.float32: self._network, **self._twins}
        real, synthetic = of_dtype[self._real_dtype], of_dtype[self._synthetic_dtype]
        self._real = CompiledOrEager(_vectors_of(real, objective.statistics), execution.compiled)
        self._synthetic = CompiledOrEager(_vectors_and_losses_of(synthetic, objective), execution.compiled)

    def load(self, step: int) -> None:
        """Load the network of a step; its tensors stay where they are."""
        self._source.load(self._network, step)
        for twin in self._twins.values():
            twin.train(self._network.training)
            with torch.no_grad():
                for low, full in zip(_tensors(twin), _tensors(self._network), strict=True):
                    low.copy_(full)

    @torch.no_grad()
    def real(self, images: Tensor) -> Tensor:
        """Return the matching vectors of real images [B, C, H, W], float32 [B, D], without gradient."""
        return self._real(images.to(self._real_dtype, memory_format=self._format))

    def synthetic(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return matching vectors and weighted losses of synthetic images, both differentiable.

        Args:
            images: [B, C, H, W].
            labels: int64 [B].

        Returns:
            Matching vectors float32 [B, D], and losses float32 [B, L], None where the objective has none.
        """
        return self._synthetic(images.to(self._synthetic_dtype, memory_format=self._format), labels)

    @torch.no_grad()
    def terms(self, probe: Callable[[], Tensor]) -> tuple[Term, ...]:
        """Return the terms of the matching loss; found once, from two images [2, C, H, W] that `probe` returns."""
        if self._terms is None:
            images = probe()
            # In eval mode nothing is drawn, no rank waits for another, and running statistics stay as they are.
            was_training = self._network.training
            features = self._network.eval().features(images)
            self._terms = terms_of(self._objective.statistics(features))
            if self._objective.image_losses is not None:
                labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
                losses = self._objective.image_losses(features, labels)
                self._loss_names = tuple(unique_names([loss.name for loss in losses], "loss"))
            self._network.train(was_training)
        return self._terms

    def term_names(self, probe: Callable[[], Tensor]) -> tuple[str, ...]:
        """Return the names of all terms of the loss: of the statistics, then of the images' own losses."""
        return (*(term.name for term in self.terms(probe)), *self._loss_names)

    def backward(self, loss: Tensor) -> None:
        """Propagate the loss of synthetic images to what they are decoded from.

        Convolutions of stride 1 in compiled networks of the package compute it in bfloat16 by `Conv2d.gradient_dtype`
        where `MatchingExecution.low_input_gradients` says so; all others rely on oneDNN's switch, which only processors
        with AMX honor.
        """
        with _bfloat16_convolutions() if self._low_gradients else contextlib.nullcontext():
            loss.backward()


def _vectors_of(network: Network, statistics_of: StatisticsOf) -> Callable[[Tensor], Tensor]:
    def vectors_of(images: Tensor) -> Tensor:
        return matching_vector(statistics_of(network.features(images)))

    return vectors_of


def _vectors_and_losses_of(
    network: Network, objective: Objective
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]:
    def vectors_and_losses_of(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        features = network.features(images)
        vectors = matching_vector(objective.statistics(features))
        if objective.image_losses is None:
            return vectors, None
        return vectors, weighted_losses(objective.image_losses(features, labels))

    return vectors_and_losses_of


def _tensors(network: Network) -> Iterator[Tensor]:
    return itertools.chain(network.parameters(), network.buffers())


@contextlib.contextmanager
def _bfloat16_convolutions() -> Iterator[None]:
    """Let oneDNN compute float32 convolutions in bfloat16, in those torch versions that have the switch."""
    convolutions: Any = getattr(torch.backends.mkldnn, "conv", None)
    if not hasattr(convolutions, "fp32_precision"):
        yield
        return
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "bf16"
    try:
        yield
    finally:
        convolutions.fp32_precision = before

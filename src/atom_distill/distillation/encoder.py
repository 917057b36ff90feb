"""The step's network as two functions: matching_vectors of real images, and of synthetic ones.

The real branch needs no gradient: it runs in low precision where that is fast. The synthetic one runs in
float32. Both are one function each, so that they can be compiled whole: fusing norm, activation, powers, sums
and pooling is worth more than anything else here, for they are all memory traffic.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.compilation import CompiledOrEager
from atom_distill.distillation.matching_execution import MatchingExecution
from atom_distill.models.initialization import laid_out, reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.matching import StatisticsOf, Term, matching_vector, terms_of

MatchingVectorOf = Callable[[Tensor], Tensor]


class Encoder:
    """A network that is drawn anew in place, and what it says of real and synthetic images.

    Args:
        network: any; it is moved to the device, and re-initialized by `renew`.
        statistics_of: the method.
        execution: device, precision and compilation.

    Attributes:
        compiled: whether torch.compile is tried.
    """

    def __init__(self, network: Network, statistics_of: StatisticsOf, execution: MatchingExecution) -> None:
        self._format, self.compiled = execution.memory_format, execution.compiled
        self._network = laid_out(network.to(execution.device), self._format).train()
        # The network's weights get no gradient: only the images learn.
        self._network.requires_grad_(False)
        self._statistics_of = statistics_of
        self._terms: tuple[Term, ...] | None = None
        self._dtype = execution.real_dtype
        self._twin = self._network if self._dtype == torch.float32 else copy.deepcopy(self._network).to(self._dtype)
        self._real = CompiledOrEager(_matching_vector_of(self._twin, statistics_of), execution.compiled)
        self._synthetic = CompiledOrEager(_matching_vector_of(self._network, statistics_of), execution.compiled)

    def renew(self, generator: torch.Generator) -> None:
        """Draw a fresh random network; the tensors stay where they are."""
        reinitialize(self._network, generator)
        if self._twin is not self._network:
            with torch.no_grad():
                pairs = zip(self._twin.parameters(), self._network.parameters(), strict=True)
                for low, full in pairs:
                    low.copy_(full)

    @torch.no_grad()
    def real(self, images: Tensor) -> Tensor:
        """Give the matching_vectors of real images [B, C, H, W] as float32 [B, D], without gradient."""
        return self._real(images.to(self._dtype, memory_format=self._format))

    def synthetic(self, images: Tensor) -> Tensor:
        """Give the matching_vectors of synthetic images [B, C, H, W] as float32 [B, D], differentiable."""
        return self._synthetic(images.contiguous(memory_format=self._format))

    @torch.no_grad()
    def terms(self, images: Tensor) -> tuple[Term, ...]:
        """Say of what terms the loss of images [B, C, H, W] consists; found from two of them, once."""
        if self._terms is None:
            # As in an evaluation: nothing is drawn, no rank waits for another, and running statistics stay.
            self._network.eval()
            self._terms = terms_of(self._statistics_of(self._network.features(images[:2])))
            self._network.train()
        return self._terms

    def backward(self, loss: Tensor) -> None:
        """Propagate a loss of synthetic matching_vectors to their images.

        Where the real branch is low in precision, so are the convolutions here: once the activations are known the
        gradient is linear in them, and loses 0.2 %. In the forward pass it would lose 6 %, for ReLUs flip.
        """
        low = self._dtype == torch.bfloat16 and loss.device.type == "cpu"
        with _bfloat16_convolutions() if low else contextlib.nullcontext():
            loss.backward()


def _matching_vector_of(network: Network, statistics_of: StatisticsOf) -> MatchingVectorOf:
    def matching_vector_of(images: Tensor) -> Tensor:
        return matching_vector(statistics_of(network.features(images)))

    return matching_vector_of


@contextlib.contextmanager
def _bfloat16_convolutions() -> Iterator[None]:
    """Have oneDNN multiply float32 convolutions in bfloat16; torch versions that cannot be told to are left alone."""
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

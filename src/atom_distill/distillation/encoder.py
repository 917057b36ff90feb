"""The step's network as two functions: signatures of real images, and of synthetic ones.

The real branch needs no gradient: it runs in low precision where that is fast. The synthetic one runs in
float32. Both are one function each, so that they can be compiled whole: fusing norm, activation, powers, sums
and pooling is worth more than anything else here, for they are all memory traffic.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from atom_distill.base.progress import note
from atom_distill.distillation.execution import Execution
from atom_distill.models.initialization import laid_out, reinitialize
from atom_distill.models.registry import Network
from atom_distill.ops.matching import StatisticsOf, signature

SignatureOf = Callable[[Tensor], Tensor]


class Encoder:
    """A network that is drawn anew in place, and what it says of real and synthetic images.

    Args:
        network: any; it is moved to the device, and re-initialised by `renew`.
        statistics_of: the method.
        execution: device, precision and compilation.
    """

    def __init__(self, network: Network, statistics_of: StatisticsOf, execution: Execution) -> None:
        self._format = execution.memory_format
        self._network = laid_out(network.to(execution.device), self._format).train()
        # The network's weights get no gradient: only the images learn.
        self._network.requires_grad_(False)
        self._dtype = execution.real_dtype
        self._twin = self._network if self._dtype == torch.float32 else copy.deepcopy(self._network).to(self._dtype)
        self._real = _CompiledOrEager(_signature_of(self._twin, statistics_of), execution.compiled)
        self._synthetic = _CompiledOrEager(_signature_of(self._network, statistics_of), execution.compiled)

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
        """Give the signatures of real images [B, C, H, W] as float32 [B, D], without gradient."""
        return self._real(images.to(self._dtype, memory_format=self._format))

    def synthetic(self, images: Tensor) -> Tensor:
        """Give the signatures of synthetic images [B, C, H, W] as float32 [B, D], differentiable."""
        return self._synthetic(images.contiguous(memory_format=self._format))


def _signature_of(network: Network, statistics_of: StatisticsOf) -> SignatureOf:
    def signature_of(images: Tensor) -> Tensor:
        return signature(statistics_of(network.features(images)))

    return signature_of


class _CompiledOrEager:
    """Run the compiled form; if compiling fails, say so once and go on in eager mode."""

    def __init__(self, function: SignatureOf, compiled: bool) -> None:
        self._eager = function
        self._call = torch.compile(function, dynamic=False) if compiled else function

    def __call__(self, images: Tensor) -> Tensor:
        try:
            return self._call(images)
        except Exception as error:
            if self._call is self._eager or not _is_compiler_error(error):
                raise
            note(f"torch.compile failed ({type(error).__name__}); going on without it, slower")
            self._call = self._eager
            return self._eager(images)


def _is_compiler_error(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))

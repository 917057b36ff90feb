"""Networks of one shape that train together: one alone, or several with their parameters stacked."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from atom_distill.base.compilation import CompiledOrEager
from atom_distill.models.initialization import laid_out, reinitialize
from atom_distill.models.network import Network
from atom_distill.training.training_execution import TrainingExecution

_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)


class Networks(Protocol):
    """R networks of one architecture; network r learns from the r-th of everything given."""

    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """Draw all weights anew, in place, network r from the r-th generator."""

    def parameters(self) -> list[Tensor]:
        """Give what the optimizer changes."""

    def diverged(self) -> list[int]:
        """Say which networks have weights that are NaN or infinite."""

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Give the sum of the networks' mean cross-entropies, differentiable, for a step of training.

        A sum, so that each network's gradient is its own loss's.

        Args:
            images: [R, B, C, H, W] in model space.
            labels: int64 [R, B], or probabilities of the classes, float32 [R, B, K].
        """

    def right(self, images: Tensor, labels: Tensor) -> Tensor:
        """Count the images [B, C, H, W] that each network classifies as `labels` [B] say; int64 [R]."""


def networks_for(network: Network, execution: TrainingExecution, count: int) -> Networks:
    """Prepare `count` networks like `network` for training together."""
    if count == 1:
        return OneNetwork(network, execution)
    return StackedNetworks(network, execution, count)


class OneNetwork:
    """A single network as a group of one.

    Args:
        network: is moved to the device.
        execution: device, precision, compilation.
    """

    def __init__(self, network: Network, execution: TrainingExecution) -> None:
        self._execution = execution
        self._network = laid_out(network.to(execution.device), execution.memory_format)
        self._loss = CompiledOrEager(_mean_loss, execution.compiled)
        self._predict = CompiledOrEager(_logits, execution.compiled)

    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """See `Networks.initialize`."""
        (generator,) = generators
        reinitialize(self._network, generator)

    def parameters(self) -> list[Tensor]:
        """See `Networks.parameters`."""
        return list(self._network.parameters())

    def diverged(self) -> list[int]:
        """See `Networks.diverged`."""
        return [] if all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters()) else [0]

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `Networks.loss`."""
        self._network.train()
        first = images[0].contiguous(memory_format=self._execution.memory_format)
        return self._loss(self._network, first, labels[0], self._execution.dtype)

    @torch.no_grad()
    def right(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `Networks.right`."""
        return (self.logits(images).argmax(1) == labels).sum(0, keepdim=True)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Give the logits [B, K] of images [B, C, H, W] for testing, without gradient."""
        self._network.eval()
        images = images.contiguous(memory_format=self._execution.memory_format)
        return self._predict(self._network, images, self._execution.dtype)


class StackedNetworks:
    """Several networks in one: each parameter is the stack of theirs, and every operation runs for all of them.

    One launch then does the work of many, which is what a GPU needs at these sizes.

    Args:
        network: what each is like; it lends its structure only.
        execution: device, precision, compilation.
        count: R.

    Source: torch.func, "model ensembling".
    """

    def __init__(self, network: Network, execution: TrainingExecution, count: int) -> None:
        self._execution = execution
        self._template = network.to(execution.device)
        self._parameters, self._buffers = stack_module_state([self._template] * count)
        self._structure = copy.deepcopy(self._template).to("meta")
        self._loss = CompiledOrEager(self._summed_loss, execution.compiled)
        self._predict = CompiledOrEager(self._logits_of_same, execution.compiled)

    @torch.no_grad()
    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """See `Networks.initialize`."""
        for index, generator in enumerate(generators):
            reinitialize(self._template, generator)
            for name, value in self._template.named_parameters():
                self._parameters[name][index].copy_(value)
            for name, weight in self._template.named_buffers():
                self._buffers[name][index].copy_(weight)

    def parameters(self) -> list[Tensor]:
        """See `Networks.parameters`."""
        return list(self._parameters.values())

    def diverged(self) -> list[int]:
        """See `Networks.diverged`."""
        finite = torch.stack([torch.isfinite(stack).flatten(1).all(1) for stack in self.parameters()]).all(0)
        return torch.nonzero(~finite).flatten().tolist()

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `Networks.loss`."""
        self._structure.train()
        return self._loss(_in_order(images), labels)

    @torch.no_grad()
    def right(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `Networks.right`."""
        self._structure.eval()
        return (self._predict(_in_order(images)).argmax(2) == labels).sum(1)

    def _summed_loss(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self._logits(images, of_each=0)
        # The batches are equally large, so the sum of means is the sum over all images by the size of one batch.
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1), reduction="sum") / labels.shape[1]

    def _logits_of_same(self, images: Tensor) -> Tensor:
        return self._logits(images, of_each=None)

    def _logits(self, images: Tensor, of_each: int | None) -> Tensor:
        """Give logits [R, B, K] of images [R, B, ...], or with `of_each` None of the same images [B, ...] for all."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
            logits: Tensor = functional_call(self._structure, (parameters, buffers), (batch,))
            return logits

        low = self._execution.dtype != torch.float32
        with torch.autocast(images.device.type, self._execution.dtype if low else None, enabled=low):
            logits = torch.vmap(one, in_dims=(0, 0, of_each))(self._parameters, self._buffers, images)
        return logits.float()


def _in_order(images: Tensor) -> Tensor:
    """Lay images out plainly: vmap cannot tell the layout of others, one-channel images of odd strides included."""
    return images.clone(memory_format=torch.contiguous_format)


# Functions, not methods: torch.compile then knows them again for the next network of the same structure.
def _mean_loss(network: Network, images: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
    return F.cross_entropy(_logits(network, images, dtype), labels)


def _logits(network: Network, images: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float32:
        logits: Tensor = network(images)
        return logits
    # Not autocast: it would normalize and store maps in float32, and their traffic is what takes the time.
    weights = {
        f"{name}.{own}": weight.to(dtype)
        for name, module in network.named_modules()
        if not isinstance(module, _NORMS)  # their few numbers stay float32, as their sums do
        for own, weight in module.named_parameters(recurse=False)
    }
    logits = functional_call(network, weights, (images.to(dtype),))
    return logits.float()

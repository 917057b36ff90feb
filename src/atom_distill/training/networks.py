"""Networks of one shape that train together: one alone, or several with their parameters stacked."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from atom_distill.base.compilation import CompiledOrEager
from atom_distill.config.training_protocol import Loss
from atom_distill.models.batch_norm import mixes_images
from atom_distill.models.initialization import laid_out, reinitialize
from atom_distill.models.network import Network
from atom_distill.training.training_execution import TrainingExecution

_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm2d)
_NORMS_OF_FLOATS_ON_CUDA = (nn.BatchNorm2d,)
"""CUDA's other norms take weights of the type of their input only."""


def training_loss(
    logits: Tensor, labels: Tensor, kind: Loss, temperature: float, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Return the loss of logits.

    Args:
        logits: [B, K].
        labels: int64 [B], or probabilities of the classes, float32 [B, K].
        kind: "cross-entropy", or "mse", the squared distance of softmax probabilities from the labels.
        temperature: by which the logits are divided.
        reduction: over the images.
    """
    if temperature != 1.0:
        logits = logits / temperature
    if kind == "cross-entropy":
        return F.cross_entropy(logits, labels, reduction=reduction)
    wanted = labels if labels.ndim == 2 else F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    distances = (logits.softmax(1) - wanted).square().sum(1)
    return distances.mean() if reduction == "mean" else distances.sum()


class Networks(Protocol):
    """R networks of one architecture; network r learns from the r-th of everything given."""

    @property
    def num_classes(self) -> int:
        """K."""

    @property
    def mixes_images(self) -> bool:
        """Whether the features of an image depend on the other images of its batch."""

    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """Draw fresh weights in place, those of network r from the r-th generator."""

    def parameters(self) -> list[Tensor]:
        """Return the tensors that the optimizer updates."""

    def state(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by name; not copies."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take parameters and buffers that `state` returned, in place.

        Raises:
            RuntimeError: a shape differs.
        """

    def diverged(self) -> list[int]:
        """Return the indices of the networks that have NaN or infinite weights."""

    def loss(self, images: Tensor, labels: Tensor, kind: Loss = "cross-entropy", temperature: float = 1.0) -> Tensor:
        """Return the sum of the networks' mean losses, differentiable, for a step of training.

        A sum, so that the gradient of each network is that of its own loss.

        Args:
            images: [R, B, C, H, W] in model space.
            labels: int64 [R, B], or probabilities of the classes, float32 [R, B, K].
            kind: see `TrainingProtocol.loss`.
            temperature: by which the logits are divided.
        """

    def correct(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return how many images [B, C, H, W] each network classifies as labels [B], int64 [R]."""


def networks_for(network: Network, execution: TrainingExecution, count: int) -> Networks:
    """Return `count` networks like `network` that train together."""
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

    @property
    def num_classes(self) -> int:
        """See `Networks.num_classes`."""
        return self._network.num_classes

    @cached_property
    def mixes_images(self) -> bool:
        """See `Networks.mixes_images`."""
        return mixes_images(self._network)

    def initialize(self, generators: Sequence[torch.Generator]) -> None:
        """See `Networks.initialize`."""
        (generator,) = generators
        reinitialize(self._network, generator)

    def parameters(self) -> list[Tensor]:
        """See `Networks.parameters`."""
        return list(self._network.parameters())

    def state(self) -> dict[str, Tensor]:
        """See `Networks.state`."""
        return dict(self._network.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Networks.load_state`."""
        self._network.load_state_dict(state)

    def diverged(self) -> list[int]:
        """See `Networks.diverged`."""
        return [] if all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters()) else [0]

    def loss(self, images: Tensor, labels: Tensor, kind: Loss = "cross-entropy", temperature: float = 1.0) -> Tensor:
        """See `Networks.loss`."""
        self._network.train()
        first = images[0].contiguous(memory_format=self._execution.memory_format)
        return self._loss(self._network, first, labels[0], self._execution.dtype, kind, temperature)

    @torch.no_grad()
    def correct(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `Networks.correct`."""
        return (self.logits(images).argmax(1) == labels).sum(0, keepdim=True)

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return the logits [B, K] of images [B, C, H, W] for testing, without gradient."""
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

    @property
    def num_classes(self) -> int:
        """See `Networks.num_classes`."""
        return self._template.num_classes

    @cached_property
    def mixes_images(self) -> bool:
        """See `Networks.mixes_images`."""
        return mixes_images(self._template)

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

    def state(self) -> dict[str, Tensor]:
        """See `Networks.state`."""
        return {**self._parameters, **self._buffers}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Networks.load_state`."""
        for name, values in self.state().items():
            if values.shape != state[name].shape:
                raise RuntimeError(f"{name} must be of shape {tuple(values.shape)}, got {tuple(state[name].shape)}")
            values.copy_(state[name])

    def diverged(self) -> list[int]:
        """See `Networks.diverged`."""
        finite = torch.stack([torch.isfinite(stack).flatten(1).all(1) for stack in self.parameters()]).all(0)
        return torch.nonzero(~finite).flatten().tolist()

    def loss(self, images: Tensor, labels: Tensor, kind: Loss = "cross-entropy", temperature: float = 1.0) -> Tensor:
        """See `Networks.loss`."""
        self._structure.train()
        return self._loss(_contiguous(images), labels, kind, temperature)

    @torch.no_grad()
    def correct(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `Networks.correct`."""
        self._structure.eval()
        return (self._predict(_contiguous(images)).argmax(2) == labels).sum(1)

    def _summed_loss(self, images: Tensor, labels: Tensor, kind: Loss, temperature: float) -> Tensor:
        logits = self._logits(images, of_each=0)
        # The batches are equally large, so the sum of means is the sum over all images by the size of one batch.
        summed = training_loss(logits.flatten(0, 1), labels.flatten(0, 1), kind, temperature, reduction="sum")
        return summed / labels.shape[1]

    def _logits_of_same(self, images: Tensor) -> Tensor:
        return self._logits(images, of_each=None)

    def _logits(self, images: Tensor, of_each: int | None) -> Tensor:
        """Return logits [R, B, K] of images [R, B, ...], or with `of_each` None of the same images [B, ...] for all."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
            logits: Tensor = functional_call(self._structure, (parameters, buffers), (batch,))
            return logits

        low = self._execution.dtype != torch.float32
        with torch.autocast(images.device.type, self._execution.dtype if low else None, enabled=low):
            logits = torch.vmap(one, in_dims=(0, 0, of_each))(self._parameters, self._buffers, images)
        return logits.float()


def _contiguous(images: Tensor) -> Tensor:
    """Return a contiguous copy: vmap cannot infer other memory layouts, such as odd strides of one-channel images."""
    return images.clone(memory_format=torch.contiguous_format)


# Functions, not methods: torch.compile then knows them again for the next network of the same structure.
def _mean_loss(
    network: Network, images: Tensor, labels: Tensor, dtype: torch.dtype, kind: Loss, temperature: float
) -> Tensor:
    return training_loss(_logits(network, images, dtype), labels, kind, temperature)


def _logits(network: Network, images: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float32:
        logits: Tensor = network(images)
        return logits
    # Not autocast: it would normalize and store maps in float32, and their traffic is what takes the time.
    kept = _NORMS_OF_FLOATS_ON_CUDA if images.is_cuda else _NORMS
    weights = {
        f"{name}.{own}": weight.to(dtype)
        for name, module in network.named_modules()
        if not isinstance(module, kept)  # their few numbers stay float32, as their sums do
        for own, weight in module.named_parameters(recurse=False)
    }
    logits = functional_call(network, weights, (images.to(dtype),))
    return logits.float()

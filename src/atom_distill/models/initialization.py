"""Re-initialization of a network in place, from a seed."""

from __future__ import annotations

import math
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from atom_distill.base.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)


@runtime_checkable
class SelfInitialized(Protocol):
    """A module that initializes itself and everything inside it."""

    def reset(self, generator: torch.Generator) -> None:
        """Set every parameter and buffer to a new value in place, drawn from the generator on the CPU."""


@torch.no_grad()
def reinitialize(network: nn.Module, generator: torch.Generator) -> None:
    """Initialize every parameter and buffer anew, in place and as PyTorch does by default.

    The tensors stay the same objects, so compiled code and captured graphs remain valid. Numbers are drawn on the CPU,
    so that a seed gives the same network on every device. Modules that are `SelfInitialized` initialize themselves.

    Raises:
        ConfigError: the network has a layer of a type whose initialization is unknown.
    """
    _reinitialize(network, "", generator)


def laid_out(network: Module, memory_format: torch.memory_format) -> Module:
    """Return the network, the weights of its convolutions converted in place to a memory format."""
    return network.to(memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def _reinitialize(module: nn.Module, name: str, generator: torch.Generator) -> None:
    if isinstance(module, SelfInitialized):
        module.reset(generator)
        return
    if isinstance(module, nn.MultiheadAttention):
        _attention(module, generator)
        return
    if isinstance(module, nn.Conv2d | nn.Linear):
        # Equal to PyTorch's default, kaiming_uniform with a = sqrt(5).
        bound = 1 / math.sqrt(module.weight[0].numel())
        _uniform(module.weight, bound, generator)
        if module.bias is not None:
            _uniform(module.bias, bound, generator)
    elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d | nn.SyncBatchNorm):
        module.reset_parameters()
    elif any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
        raise ConfigError(
            f"no initialization is known for layer {name!r} of type {type(module).__name__}: give it a method reset"
        )
    for own, child in module.named_children():
        _reinitialize(child, f"{name}.{own}".removeprefix("."), generator)


def _attention(module: nn.MultiheadAttention, generator: torch.Generator) -> None:
    """Initialize query, key and value as one Xavier-uniform matrix, the output as a linear layer, biases as zeros."""
    _uniform(module.in_proj_weight, math.sqrt(6 / sum(module.in_proj_weight.shape)), generator)
    _uniform(module.out_proj.weight, 1 / math.sqrt(module.embed_dim), generator)
    for bias in (module.in_proj_bias, module.out_proj.bias):
        if bias is not None:
            bias.zero_()


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator), non_blocking=True)

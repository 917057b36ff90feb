"""Re-initialize a network in place, from a seed."""

from __future__ import annotations

import math
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from atom_distill.base.errors import ConfigError

Module = TypeVar("Module", bound=nn.Module)


@runtime_checkable
class SelfInitialized(Protocol):
    """A module that knows its own initialization, and that of everything inside it."""

    def reset(self, generator: torch.Generator) -> None:
        """Give every parameter and buffer a fresh value in place, drawn on the CPU from the generator."""


@torch.no_grad()
def reinitialize(network: nn.Module, generator: torch.Generator) -> None:
    """Give every parameter and buffer a fresh value, PyTorch's default initialization, in place.

    The tensors stay the same objects, so compiled code and captured graphs go on working. Numbers are drawn
    on the CPU: a seed means the same network on every device. Modules that are `SelfInitialized` do it themselves.

    Raises:
        ConfigError: the network has a layer whose initialization is not known here.
    """
    _reinitialize(network, "", generator)


def laid_out(network: Module, memory_format: torch.memory_format) -> Module:
    """Lay the weights of a network's convolutions out in memory, in place."""
    return network.to(memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def _reinitialize(module: nn.Module, name: str, generator: torch.Generator) -> None:
    if isinstance(module, SelfInitialized):
        module.reset(generator)
        return
    if isinstance(module, nn.MultiheadAttention):
        _attention(module, generator)
        return
    if isinstance(module, nn.Conv2d | nn.Linear):
        # PyTorch's default, kaiming_uniform with a = sqrt(5), is this uniform.
        bound = 1 / math.sqrt(module.weight[0].numel())
        _uniform(module.weight, bound, generator)
        if module.bias is not None:
            _uniform(module.bias, bound, generator)
    elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d | nn.SyncBatchNorm):
        module.reset_parameters()
    elif any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False))):
        raise ConfigError(f"no initialization is known for layer {name!r} of type {type(module).__name__}")
    for own, child in module.named_children():
        _reinitialize(child, f"{name}.{own}".removeprefix("."), generator)


def _attention(module: nn.MultiheadAttention, generator: torch.Generator) -> None:
    """Xavier's uniform for query, key and value as one matrix, zero biases; the output as a linear layer."""
    _uniform(module.in_proj_weight, math.sqrt(6 / sum(module.in_proj_weight.shape)), generator)
    _uniform(module.out_proj.weight, 1 / math.sqrt(module.embed_dim), generator)
    for bias in (module.in_proj_bias, module.out_proj.bias):
        if bias is not None:
            bias.zero_()


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))

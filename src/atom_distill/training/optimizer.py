"""The optimizer of a network's weights, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from atom_distill.config.training_protocol import TrainingProtocol

_SECOND_BETA = 0.999


def build_optimizer(
    parameters: Sequence[Tensor], protocol: TrainingProtocol, state: Mapping[str, Tensor]
) -> torch.optim.Optimizer:
    """Return the optimizer of a protocol: SGD, or AdamW (Loshchilov & Hutter, ICLR 2019), which decays all parameters.

    Args:
        parameters: that it updates.
        protocol: its optimizer, learning rate, momentum and weight decay.
        state: to continue from, as `optimizer_state` returned it; empty to begin.
    """
    fused = parameters[0].device.type in ("cpu", "cuda")
    lr, momentum, decay = protocol.lr, protocol.momentum, protocol.weight_decay
    optimizer: torch.optim.Optimizer
    if protocol.optimizer == "adamw":
        betas = (momentum, _SECOND_BETA)
        optimizer = torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=decay, fused=fused)
    else:
        optimizer = torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=decay, fused=fused)
    for name, values in state.items():
        index, key = name.split(".")
        parameter = parameters[int(index)]
        # In the memory format of the parameter, as the optimizer's own would be; a count of steps is a number.
        own = torch.empty_like(parameter) if values.ndim else torch.empty((), device=parameter.device)
        optimizer.state[parameter][key] = own.copy_(values)
    return optimizer


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the optimizer, not copies: "3.exp_avg" is that of the fourth parameter."""
    return {
        f"{index}.{key}": values
        for index, parameter in enumerate(parameters)
        for key, values in optimizer.state.get(parameter, {}).items()
        if isinstance(values, Tensor)
    }

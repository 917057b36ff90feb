"""The optimizer of the stored values: torch's, with its state as plain tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from atom_distill.config.distill import DistillConfig
from atom_distill.ops.parameterization import Stored

_SECOND_BETA = 0.999
"""Adam's second beta, torch's default."""


class ImageOptimizer:
    """Updates stored values in place.

    Args:
        stored: float32 leaves by name.
        config: its optimizer, learning rate and momentum.
        state: what `state` returned when the run was saved; empty at the start.
    """

    def __init__(self, stored: Stored, config: DistillConfig, state: Mapping[str, Tensor]) -> None:
        self._stored = stored
        self._optimizer = _optimizer(list(stored.values()), config)
        for place, tensor in state.items():
            name, _, key = place.rpartition(".")
            values = stored[name]
            # Adam counts its steps in a scalar that stays on the CPU.
            self._optimizer.state[values][key] = tensor.to(values.device if tensor.ndim else "cpu").clone()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self._optimizer.zero_grad()

    def step(self) -> None:
        """Update the stored values by their gradients."""
        self._optimizer.step()

    @property
    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, as "stored name.torch's name"; the next step changes these tensors."""
        return {
            f"{name}.{key}": tensor
            for name, values in self._stored.items()
            for key, tensor in self._optimizer.state[values].items()
            if isinstance(tensor, Tensor)
        }


def _optimizer(values: list[Tensor], config: DistillConfig) -> Optimizer:
    match config.image_optimizer:
        case "sgd":
            return SGD(values, lr=config.image_lr, momentum=config.image_momentum)
        case "adam":
            return Adam(values, lr=config.image_lr, betas=(config.image_momentum, _SECOND_BETA))


class RunningAverage:
    """An exponential moving average of the stored values over the steps, instead of their last state.

    A small set is pushed about by each step's network, real images and augmentation; the average is not.

    Args:
        decay: weight of the past, in (0, 1): it reaches back about 1 / (1 - decay) steps. 0: no average.
        average: of the steps so far; None at the start.
    """

    def __init__(self, decay: float, average: dict[str, Tensor] | None) -> None:
        self._decay, self._average = decay, average

    @torch.no_grad()
    def update(self, stored: Stored) -> Stored | None:
        """Add the values after a step, and return the average; None where the decay is 0."""
        if not self._decay:
            return None
        if self._average is None:
            self._average = {name: values.clone() for name, values in stored.items()}
        for name, values in stored.items():
            self._average[name].lerp_(values, 1 - self._decay)
        return self._average

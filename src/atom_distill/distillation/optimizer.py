"""The optimizer of the stored values, with its state as plain tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from atom_distill.config.distill import DistillConfig
from atom_distill.distillation.row_adam import RowAdam, rows_with_gradient
from atom_distill.ops.parameterization import Stored


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
            # Checkpoints of version 0.1 have one count of steps for all rows.
            of_rows = tensor if tensor.ndim else tensor.expand(len(values))
            self._optimizer.state[values][key] = of_rows.to(values.device).clone()

    def zero_grad(self) -> None:
        """Set the gradients to zero, in the memory that they have."""
        self._optimizer.zero_grad(set_to_none=False)

    def step(self) -> Tensor:
        """Update the stored values by their gradients, and return which rows had any, bool [r]."""
        self._optimizer.step()
        first = next(iter(self._stored.values()))
        moved = torch.zeros(len(first), dtype=torch.bool, device=first.device)
        for values in self._stored.values():
            assert values.grad is not None
            moved |= rows_with_gradient(values.grad)
        return moved

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
            return RowAdam(values, lr=config.image_lr, momentum=config.image_momentum)


class RunningAverage:
    """An exponential moving average of each stored row over the steps in which it had a gradient.

    A set is pushed about by each step's network, real images and augmentation; the average is not.

    Args:
        decay: weight of the past, in (0, 1): it reaches back about 1 / (1 - decay) such steps. 0: no average.
        average: of the steps so far; None at the start.
    """

    def __init__(self, decay: float, average: dict[str, Tensor] | None) -> None:
        self._decay, self._average = decay, average

    @torch.no_grad()
    def update(self, stored: Stored, moved: Tensor) -> Stored | None:
        """Add the values after a step, and return the average; None where the decay is 0.

        Args:
            stored: values by name, [r, ...].
            moved: which rows had a gradient in the step, bool [r].
        """
        if not self._decay:
            return None
        if self._average is None:
            self._average = {name: values.clone() for name, values in stored.items()}
        for name, values in stored.items():
            weights = ((1 - self._decay) * moved.to(values.dtype)).view(-1, *[1] * (values.ndim - 1))
            self._average[name].lerp_(values, weights)
        return self._average

"""Adam for stored rows of which each step draws some."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim import Optimizer

_SECOND_BETA, _EPSILON = 0.999, 1e-8
"""Adam's second beta and epsilon, torch's defaults."""


class RowAdam(Optimizer):
    """Adam (arXiv 1412.6980) in which a row without a gradient is left alone, with its moments and its count of steps.

    `torch.optim.Adam` goes on moving such a row by its first moment, and lets its second one decay. A row that is drawn
    in a share p of the steps then moves about 1 / sqrt(p) times as far for each gradient: five times in a set of 1,147
    images, of which a step draws 40. Where every row has a gradient, both are the same.

    Args:
        values: float32 leaves [r, ...].
        lr: learning rate.
        momentum: the first beta.
    """

    def __init__(self, values: list[Tensor], lr: float, momentum: float) -> None:
        super().__init__(values, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient, in place."""
        for group in self.param_groups:
            for values in group["params"]:
                if values.grad is not None:
                    self._move(values, values.grad, group["lr"], group["momentum"])

    def _move(self, values: Tensor, gradient: Tensor, lr: float, momentum: float) -> None:
        state = self.state[values]
        if not state:
            state["step"] = torch.zeros(len(values), device=values.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(values), torch.zeros_like(values)
        per_row = (-1, *[1] * (values.ndim - 1))
        drawn = rows_with_gradient(gradient).float()
        steps = state["step"].add_(drawn).clamp_min(1).view(per_row)  # without a step, nothing is divided by zero
        drawn = drawn.view(per_row)
        first = state["exp_avg"].lerp_(gradient, (1 - momentum) * drawn)
        second = state["exp_avg_sq"].lerp_(gradient.square(), (1 - _SECOND_BETA) * drawn)
        size = (second / _bias(_SECOND_BETA, steps)).sqrt_().add_(_EPSILON)
        values.sub_(lr * drawn / _bias(momentum, steps) * first / size)


def rows_with_gradient(gradient: Tensor) -> Tensor:
    """Return which rows of a gradient [r, ...] are not all zero, bool [r]."""
    return gradient.reshape(len(gradient), -1).any(1)


def _bias(beta: float, steps: Tensor) -> Tensor:
    """Return 1 - beta ** steps: how much of the weights of an average that began at zero are of values."""
    return -torch.expm1(steps * math.log(beta)) if beta else torch.ones_like(steps)

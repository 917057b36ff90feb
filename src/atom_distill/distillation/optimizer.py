"""What moves the images: torch's optimizers, and their state as plain tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from atom_distill.config.distill import DistillConfig

_SECOND_BETA = 0.999
"""Of Adam: torch's own default."""


class ImageOptimizer:
    """Updates one tensor of images in place.

    Args:
        images: float32 leaf [M, C, H, W].
        config: its optimizer, learning rate and momentum.
        state: what `state` gave when the run was saved; empty at the start.
    """

    def __init__(self, images: Tensor, config: DistillConfig, state: Mapping[str, Tensor]) -> None:
        self._images = images
        self._optimizer = _optimizer(images, config)
        for name, tensor in state.items():
            # Adam counts its steps in a scalar that stays on the CPU.
            self._optimizer.state[images][name] = tensor.to(images.device if tensor.ndim else "cpu").clone()

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self._optimizer.zero_grad()

    def step(self) -> None:
        """Move the images by their gradient."""
        self._optimizer.step()

    @property
    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, by torch's names; the tensors are those that it goes on changing."""
        state = self._optimizer.state[self._images]
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _optimizer(images: Tensor, config: DistillConfig) -> Optimizer:
    match config.image_optimizer:
        case "sgd":
            return SGD([images], lr=config.image_lr, momentum=config.image_momentum)
        case "adam":
            return Adam([images], lr=config.image_lr, betas=(config.image_momentum, _SECOND_BETA))


class RunningAverage:
    """An exponential average of the images over the steps, in place of their last state.

    A small set is pushed about by each step's network, real images and augmentation; the average is not.

    Args:
        decay: weight of the past, in (0, 1): it reaches back about 1 / (1 - decay) steps. 0: the images themselves.
        average: of the steps so far; None at the start.
    """

    def __init__(self, decay: float, average: Tensor | None) -> None:
        self._decay, self._average = decay, average

    @torch.no_grad()
    def update(self, images: Tensor) -> Tensor | None:
        """Take in the images after a step, and give the average; None where the decay is 0."""
        if not self._decay:
            return None
        if self._average is None:
            self._average = images.clone()
        return self._average.lerp_(images, 1 - self._decay)

"""What moves the images, and their running average, against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atom_distill.distillation.optimizer import ImageOptimizer, RunningAverage
from distillation.toys import go


def test_the_average_is_the_result(monkeypatch):
    """Against a weighted sum of all states of the images, written out."""
    seen: list[Tensor] = []
    update = RunningAverage.update

    def watched(self: RunningAverage, stored: dict[str, Tensor]) -> dict[str, Tensor] | None:
        seen.append(stored["images"].detach().clone())
        return update(self, stored)

    monkeypatch.setattr(RunningAverage, "update", watched)
    result = go(image_average=0.8).images
    steps = len(seen)
    weights = [0.8 ** (steps - 1)] + [0.2 * 0.8 ** (steps - step) for step in range(2, steps + 1)]
    assert sum(weights) == pytest.approx(1)
    want = sum(weight * images.double() for weight, images in zip(weights, seen, strict=True))
    torch.testing.assert_close(result, want.float())
    last = seen[-1]
    assert not torch.allclose(result, last)
    assert torch.equal(go().images, last)  # averaging does not disturb the steps


def test_adam_moves_the_images_as_its_formula_says(monkeypatch):
    before: list[tuple[Tensor, Tensor]] = []
    step = ImageOptimizer.step

    def watched(self: ImageOptimizer) -> None:
        images = self._stored["images"]
        before.append((images.detach().double(), images.grad.double()))
        step(self)

    monkeypatch.setattr(ImageOptimizer, "step", watched)
    result = go(image_optimizer="adam", image_lr=0.03, image_momentum=0.6).images
    images, first, second = before[0][0], 0, 0
    for count, (_, gradient) in enumerate(before, start=1):
        first = 0.6 * first + 0.4 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        images = images - 0.03 * (first / (1 - 0.6**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
    assert len(before) == 8
    torch.testing.assert_close(result, images.float(), rtol=0, atol=1e-4)

"""What moves the images, and their running average, against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atom_distill.config.presets import SetFacts
from atom_distill.distillation.optimizer import ImageOptimizer, RunningAverage
from atom_distill.distillation.resolve import resolve
from atom_distill.distillation.row_adam import RowAdam
from distillation.toys import go


def test_the_average_is_the_result(monkeypatch):
    """Against a weighted sum of all states of the images, written out."""
    seen: list[Tensor] = []
    update = RunningAverage.update

    def watched(self: RunningAverage, stored: dict[str, Tensor], moved: Tensor) -> dict[str, Tensor] | None:
        seen.append(stored["images"].detach().clone())
        return update(self, stored, moved)

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

    def watched(self: ImageOptimizer) -> Tensor:
        images = self._stored["images"]
        before.append((images.detach().double(), images.grad.double()))
        return step(self)

    monkeypatch.setattr(ImageOptimizer, "step", watched)
    result = go(image_optimizer="adam", image_lr=0.03, image_momentum=0.6).images
    images, first, second = before[0][0], 0, 0
    for count, (_, gradient) in enumerate(before, start=1):
        first = 0.6 * first + 0.4 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        images = images - 0.03 * (first / (1 - 0.6**count)) / ((second / (1 - 0.999**count)).sqrt() + 1e-8)
    assert len(before) == 8
    torch.testing.assert_close(result, images.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_adam_of_all_rows_is_that_of_torch(momentum):
    ours, theirs = torch.ones(3, 2, 2), torch.ones(3, 2, 2)
    adam, reference = RowAdam([ours], 0.02, momentum), torch.optim.Adam([theirs], lr=0.02, betas=(momentum, 0.999))
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        ours.grad = torch.randn(3, 2, 2, generator=random)
        theirs.grad = ours.grad.clone()
        adam.step()
        reference.step()
    torch.testing.assert_close(ours, theirs)


def test_adam_of_a_row_that_is_drawn_now_and_then_is_that_of_the_row_alone():
    """Against torch's Adam on each row by itself, which takes a step only where the row is drawn."""
    ours, alone = torch.zeros(4, 3), [torch.zeros(3) for _ in range(4)]
    adam = RowAdam([ours], 0.02, 0.5)
    references = [torch.optim.Adam([row], lr=0.02, betas=(0.5, 0.999)) for row in alone]
    random = torch.Generator().manual_seed(1)
    for _ in range(40):
        drawn = torch.rand(3, generator=random) < 0.3
        drawn = torch.cat([drawn, torch.tensor([False])])  # the last row never is
        ours.grad = torch.randn(4, 3, generator=random) * drawn.unsqueeze(1)
        adam.step()
        for row, gradient, reference, is_drawn in zip(alone, ours.grad, references, drawn.tolist(), strict=True):
            if is_drawn:
                row.grad = gradient.clone()
                reference.step()
    torch.testing.assert_close(ours, torch.stack(alone))
    assert (ours[:3] != 0).all()
    assert (ours[3] == 0).all()


def test_the_average_of_a_row_is_over_the_steps_that_moved_it():
    average = RunningAverage(0.9, {"images": torch.zeros(2, 1)})
    result = None
    for moved in ([True, False], [True, True], [False, False]):
        result = average.update({"images": torch.ones(2, 1)}, torch.tensor(moved))
    torch.testing.assert_close(result, {"images": torch.tensor([[1 - 0.9**2], [1 - 0.9]])})


def test_one_count_of_steps_for_all_rows_is_continued():
    """As checkpoints of torch's Adam have it."""
    theirs = torch.zeros(2, 3, requires_grad=True)
    reference = torch.optim.Adam([theirs], lr=0.02, betas=(0.5, 0.999))
    given = {"ipc": 1, "image_optimizer": "adam", "image_lr": 0.02, "image_momentum": 0.5}
    settings = resolve(SetFacts((3, 8, 8), 2, 20), given).general
    theirs.grad = torch.tensor([[1.0, -2.0, 3.0], [0.5, 1.0, -1.0]])
    reference.step()
    ours = theirs.detach().clone().requires_grad_()
    state = {f"images.{name}": tensor.clone() for name, tensor in reference.state[theirs].items()}
    ours.grad = theirs.grad = torch.tensor([[-1.0, 1.0, 2.0], [3.0, 1.0, 1.0]])
    reference.step()
    assert ImageOptimizer({"images": ours}, settings, state).step().tolist() == [True, True]
    torch.testing.assert_close(ours, theirs)

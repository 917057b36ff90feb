"""Gradient matching against a float64 twin: plain autograd, class by class, and an inner training written out."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.seeding import generator
from atom_distill.config.distill import DSA_OPERATIONS
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation import gradient_matching
from atom_distill.distillation.gradient_matching import GradientMatchingStep, turns
from atom_distill.distillation.network_sources import FreshNetworks
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.dsa import Draw, augment, draw_per_class, draw_per_image
from atom_distill.ops.parameterization import Pixels
from atom_distill.training.training_execution import TrainingExecution
from distillation.toys import go, toy_dataset

SEED, STEP, IPC, COUNTS = 3, 5, 2, (3, 9, 7)
CPU = torch.device("cpu")


def network() -> Network:
    return build_model("convnet", (3, 8, 8), len(COUNTS), NetworkShape(width=8))


def sampler() -> ClassSampler:
    dataset = toy_dataset(COUNTS)
    return ClassSampler(dataset, fit_preprocessing("normalize", dataset), 6, CPU)


def step(operations: tuple[str, ...] = ()) -> GradientMatchingStep:
    execution = TrainingExecution(CPU, torch.float32, compiled=False, at_once=1)
    return GradientMatchingStep(
        sampler(), network(), FreshNetworks(SEED), execution, Pixels((3, 8, 8)), operations, IPC
    )


def images() -> Tensor:
    return torch.randn(len(COUNTS) * IPC, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def twin(turn: int, operations: tuple[str, ...] = (), trained: Network | None = None) -> tuple[Tensor, Tensor]:
    """Loss and image gradient of one turn, in float64."""
    model = trained or fresh()
    real = sampler()
    batch = real.load(real.draw(generator(SEED, "real", STEP, turn))).double()
    draw = draw_per_class(3, operations, generator(SEED, "augment", STEP, turn)) if operations else None
    synthetic = images().double().requires_grad_()
    total, start = torch.zeros((), dtype=torch.float64), 0
    for label, count in enumerate(real.counts.tolist()):
        ours = weights_gradient(model, alone(batch[start : start + count], draw, label), label)
        mine = synthetic[label * IPC : (label + 1) * IPC]
        theirs = weights_gradient(model, alone(mine, draw, label), label)
        for left, right in zip(ours, theirs, strict=True):
            if left.ndim > 1:
                a, b = left.detach().flatten(1), right.flatten(1)
                lengths = a.square().sum(1).sqrt() * b.square().sum(1).sqrt()
                total = total + (1 - (a * b).sum(1) / (lengths + 1e-6)).sum()
        start += count
    total.backward()
    return total.detach(), synthetic.grad


def fresh() -> Network:
    model = network()
    reinitialize(model, generator(SEED, "network", STEP))
    return copy.deepcopy(model).double()


def alone(batch: Tensor, draw: Draw | None, label: int) -> Tensor:
    if draw is None:
        return batch
    return augment(batch, Draw(draw.operation[label].expand(len(batch)), draw.uniforms[label].expand(len(batch), -1)))


def weights_gradient(model: Network, batch: Tensor, label: int) -> list[Tensor]:
    log_probabilities = model(batch).log_softmax(1)
    return list(torch.autograd.grad(-log_probabilities[:, label].mean(), list(model.parameters()), create_graph=True))


def assert_close(loss: Tensor, gradient: Tensor, want: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(loss.double(), want[0], rtol=1e-4, atol=0)
    assert float((gradient.double() - want[1]).norm() / want[1].norm()) < 1e-3
    assert float(want[1].abs().max()) > 0


@pytest.mark.parametrize("operations", [(), tuple(DSA_OPERATIONS.split("_"))])
def test_loss_and_gradient_equal_the_formula(operations):
    moving = images().requires_grad_()
    (loss,) = next(step(operations).gradients({"images": moving}, STEP))
    assert_close(loss, moving.grad, twin(0, operations))


@pytest.mark.parametrize("operations", [(), tuple(DSA_OPERATIONS.split("_"))])
def test_the_second_gradient_is_that_of_a_network_trained_on_the_images(monkeypatch, operations):
    """In batches of four of the six images, in an order of their own and each augmented by itself."""
    monkeypatch.setitem(gradient_matching._TURNS, IPC, (2, 3))
    monkeypatch.setattr(gradient_matching, "_NETWORK_BATCH", 4)
    moving = images().requires_grad_()
    losses = step(operations).gradients({"images": moving}, STEP)
    next(losses)
    moving.grad = None  # but the images stay, so that the twin need not move them
    (loss,) = next(losses)
    model, labels, random = (
        fresh(),
        torch.arange(3).repeat_interleave(IPC),
        generator(SEED, "network training", STEP, 0),
    )
    for _ in range(3):
        order = torch.randperm(6, generator=random)
        for chosen in (order[:4], order[4:]):
            batch = images()[chosen]
            if operations:
                batch = augment(batch, draw_per_image(len(chosen), operations, random))
            error = F.cross_entropy(model(batch.double()), labels[chosen])
            with torch.no_grad():
                gradients = torch.autograd.grad(error, list(model.parameters()))
                for weight, gradient in zip(model.parameters(), gradients, strict=True):
                    weight.sub_(0.01 * gradient)
    assert_close(loss, moving.grad, twin(1, operations, trained=model))
    with pytest.raises(StopIteration):
        next(losses)


def test_the_network_is_left_without_gradients_of_the_matching():
    matching = step()
    next(matching.gradients({"images": images().requires_grad_()}, STEP))
    assert all(parameter.grad is None for parameter in matching._network.parameters())


def test_turns_are_those_of_the_published_code_and_near_500_elsewhere():
    assert [turns(ipc) for ipc in (1, 10, 50)] == [(1, 1), (10, 50), (50, 10)]
    assert turns(5) == (5, 100)
    assert turns(2000) == (2000, 1)


@pytest.mark.parametrize("method", ["dc", "dsa"])
def test_a_whole_run_moves_the_images_and_resumes(tmp_path, monkeypatch, method):
    monkeypatch.setitem(gradient_matching._TURNS, IPC, (2, 3))
    whole = go(tmp_path / "whole", method=method, ipc=2)
    assert whole.settings["augment"] == ("none" if method == "dc" else DSA_OPERATIONS)
    first = go(method="random", ipc=2)
    assert not torch.allclose(whole.images, first.images)
    go(tmp_path / "short", method=method, ipc=2, steps=5)
    longer = go(tmp_path / "short", method=method, ipc=2, resume=True)
    assert torch.equal(longer.images, whole.images)

"""Training losses against float64 formulas in numpy, and learning-rate schedules against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.training.networks import training_loss
from atom_distill.training.schedules import SCHEDULES, warm_up

LOGITS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
HARD = torch.tensor([0, 3, 1, 1, 2])
SOFT = torch.rand(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SOFT = SOFT / SOFT.sum(1, keepdim=True)


def by_hand(kind: str, targets: np.ndarray, temperature: float) -> float:
    """The mean loss, image by image."""
    losses = []
    for logits, target in zip(LOGITS.numpy(), targets, strict=True):
        scaled = logits / temperature
        exponentials = np.exp(scaled - scaled.max())
        probabilities = exponentials / exponentials.sum()
        if kind == "cross-entropy":
            losses.append(-(target * np.log(probabilities)).sum())
        else:
            losses.append(((probabilities - target) ** 2).sum())
    return float(np.mean(losses))


@pytest.mark.parametrize("kind", ["cross-entropy", "mse"])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_losses_equal_the_formula(kind, temperature, labels):
    targets = np.eye(4)[HARD.numpy()] if labels == "hard" else SOFT.numpy()
    given = HARD if labels == "hard" else SOFT
    expected = by_hand(kind, targets, temperature)
    assert float(training_loss(LOGITS, given, kind, temperature)) == pytest.approx(expected, rel=1e-12)
    summed = training_loss(LOGITS, given, kind, temperature, reduction="sum")
    assert float(summed) == pytest.approx(5 * expected, rel=1e-12)


def test_schedules():
    protocol = PROTOCOLS.get("dm").changed(epochs=10, drop_at=0.4, drop_to=0.5)
    rates = {name: [SCHEDULES.get(name)(epoch, protocol) for epoch in range(10)] for name in SCHEDULES}
    assert rates["constant"] == [1.0] * 10
    assert rates["step"] == [1.0] * 4 + [0.5] * 6
    assert rates["two-steps"] == [1.0] * 6 + [0.5] * 2 + [0.25] * 2  # from epoch 20 // 3 and 50 // 6 on
    assert rates["cosine"] == pytest.approx([math.cos(math.pi * epoch / 20) ** 2 for epoch in range(10)])


@pytest.mark.parametrize("epochs", [1000, 250, 7, 6])
def test_two_steps_are_those_of_torch(epochs):
    """The IDC code: MultiStepLR at 2 E // 3 and 5 E // 6, gamma 0.2."""
    protocol = PROTOCOLS.get("idc").changed(epochs=epochs)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * epochs // 3, 5 * epochs // 6], gamma=0.2)
    for epoch in range(epochs):
        assert SCHEDULES.get("two-steps")(epoch, protocol) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()


def test_a_single_epoch_has_the_whole_learning_rate():
    for name in SCHEDULES:
        assert SCHEDULES.get(name)(0, PROTOCOLS.get("idc").changed(epochs=1)) == 1.0


def test_a_warm_up_rises_in_a_line_from_above_zero_to_the_schedule():
    protocol = PROTOCOLS.get("vit").changed(epochs=10, warmup=0.2)
    rates = [warm_up(update / 4, protocol) for update in range(1, 41)]  # of four updates an epoch
    assert rates == pytest.approx([update / 8 for update in range(1, 9)] + [1.0] * 32)
    assert warm_up(0.01, PROTOCOLS.get("dm")) == 1.0


def test_wrong_values_are_refused_before_the_training():
    with pytest.raises(UnknownNameError, match=r"unknown learning-rate schedule 'cosin'. Did you mean 'cosine'"):
        Evaluation(protocol=PROTOCOLS.get("dm").changed(schedule="cosin"))
    with pytest.raises(ConfigError, match="`temperature` must be greater than 0"):
        PROTOCOLS.get("dm").changed(temperature=0.0)
    with pytest.raises(ConfigError, match="`loss` must be 'cross-entropy' or 'mse'"):
        PROTOCOLS.get("dm").changed(loss="l1")
    with pytest.raises(ConfigError, match="`optimizer` must be 'sgd' or 'adamw', got 'adam'"):
        PROTOCOLS.get("dm").changed(optimizer="adam")
    with pytest.raises(ConfigError, match=r"`warmup` must be less than 1, got 1\.0"):
        PROTOCOLS.get("dm").changed(warmup=1.0)

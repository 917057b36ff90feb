"""Networks that train together, and in low precision: what each learns alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.seeding import generator
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.models.build import build_model
from atom_distill.training.networks import networks_for
from atom_distill.training.train import accuracies, train
from atom_distill.training.training_execution import TrainingExecution
from atom_distill.training.training_images import Pixels, StoredTensors
from distillation.toys import toy_dataset

CPU = torch.device("cpu")
EAGER = TrainingExecution(CPU, torch.float32, compiled=False, at_once=1)


NORMS = ["none", "batch", "layer", "instance", "group"]


@pytest.mark.parametrize("norm", NORMS)
def test_networks_together_learn_what_each_learns_alone(norm):
    data = toy_dataset((9, 9, 9), test_per_class=40)
    preprocessing = fit_preprocessing("normalize", data)
    test = Pixels(data.test, preprocessing, CPU)
    protocol = TrainingProtocol(name="dsa", epochs=6, batch_size=7, cutmix=0.5)
    generators = [torch.Generator().manual_seed(index) for index in range(3)]
    sources = [StoredTensors(torch.randn(12, 3, 8, 8, generator=g), torch.arange(12) % 3, CPU) for g in generators]
    repeats = [0, 1, 2]

    def curves(count: int) -> tuple[list[list[float]], list[float]]:
        """Loss of every step of every network, and the accuracies after the last."""
        losses: list[list[float]] = []
        right: list[float] = []
        for first in range(0, 3, count):
            one = build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8, norm=norm))
            group = networks_for(one, EAGER, count)
            seen: list[float] = []
            plain = group.loss
            group.loss = lambda *batch, plain=plain, seen=seen: (seen.append(plain(*batch)), seen[-1])[1]
            members = slice(first, first + count)
            train(group, sources[members], protocol, seed=0, repeats=repeats[members], on_epoch=lambda: None)
            losses.append([loss.item() for loss in seen])
            right += accuracies(group, test)
        return losses, right

    (together,), right = curves(3)
    alone, right_alone = curves(1)
    summed = [sum(step) for step in zip(*alone, strict=True)]
    assert together == pytest.approx(summed, rel=2e-4)
    assert right == pytest.approx(right_alone, abs=1.0)
    assert len({losses[0] for losses in alone}) == 3  # three networks, not one three times


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap has no attention on a CPU, and loops
@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        ("resnet18", NetworkShape(width=4, norm="batch")),
        ("resnet18", NetworkShape(width=4)),
        ("vit", NetworkShape(width=128, depth=1)),
    ],
    ids=["resnet18 batch", "resnet18", "vit"],
)
def test_other_architectures_train_together_as_alone_and_in_low_precision(arch, shape):
    pixels, labels = torch.randn(2, 6, 3, 16, 16, generator=generator(0, "x")), (torch.arange(12) % 3).view(2, 6)

    def step(numbers: list[int], dtype: torch.dtype) -> tuple[float, list[Tensor], Tensor]:
        execution = TrainingExecution(CPU, dtype, compiled=False, at_once=len(numbers))
        group = networks_for(build_model(arch, (3, 16, 16), 3, shape), execution, len(numbers))
        group.initialize([generator(number, "y") for number in numbers])
        loss = group.loss(pixels[numbers], labels[numbers])
        return loss.item(), list(torch.autograd.grad(loss, group.parameters())), group.correct(pixels[0], labels[0])

    together, stacked, right = step([0, 1], torch.float32)
    first, gradients, right_first = step([0], torch.float32)
    second, _, right_second = step([1], torch.float32)
    assert together == pytest.approx(first + second, rel=1e-4)
    assert right.tolist() == [right_first.item(), right_second.item()]
    for one, of_both in zip(gradients, stacked, strict=True):
        torch.testing.assert_close(of_both[0], one, rtol=1e-3, atol=1e-4)
    low, of_low, _ = step([0], torch.bfloat16)
    assert low == pytest.approx(first, rel=0.02)
    assert low != first
    cosine = F.cosine_similarity(*(torch.cat([g.flatten() for g in gs]) for gs in (of_low, gradients)), dim=0)
    assert cosine > 0.6  # norms over the few pixels of deep maps magnify rounding: 0.74 for instance norm here

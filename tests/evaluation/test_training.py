"""Training one network: against a loop of plain tensors from the same draws, and on sets that are easy to learn."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.config.protocol import Protocol
from atom_distill.data.dataset import Split
from atom_distill.data.preprocessing import fit_preprocessing
from atom_distill.evaluation.sources import Pixels, StoredTensors
from atom_distill.evaluation.training import accuracy, train
from atom_distill.models.initialization import reinitialize
from atom_distill.models.registry import Network, NetworkShape, build_model
from atom_distill.ops.dsa import augment, draw_per_image
from atom_distill.ops.features import Features
from distillation.toys import toy_dataset

CPU = torch.device("cpu")
SEED, REPEAT = 2, 1
PLAIN = Protocol(name="plain", epochs=4, batch_size=5, lr=0.05, augment="none")


def network() -> Network:
    return build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8))


def images() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(12, 3, 8, 8, generator=random), torch.arange(12) % 3


def trained(protocol: Protocol, *, seed: int = SEED, repeat: int = REPEAT) -> dict[str, Tensor]:
    ours, calls = network(), []
    train(ours, StoredTensors(*images(), CPU), protocol, seed=seed, repeat=repeat, on_epoch=lambda: calls.append(1))
    assert len(calls) == protocol.epochs
    return {name: value.clone() for name, value in ours.state_dict().items()}


def by_hand(protocol: Protocol, drop_epoch: int) -> dict[str, Tensor]:
    """SGD written out: the weight decay joins the gradient, momentum sums up, the rate falls once."""
    theirs = network()
    reinitialize(theirs, generator(SEED, "evaluation network", REPEAT))
    theirs.train()
    pixels, labels = images()
    velocity = {name: torch.zeros_like(value) for name, value in theirs.named_parameters()}
    for epoch in range(protocol.epochs):
        rate = protocol.lr * (protocol.drop_to if epoch >= drop_epoch else 1)
        random = generator(SEED, "evaluation epoch", REPEAT, epoch)
        order = torch.randperm(len(labels), generator=random)
        for start in range(0, len(labels), protocol.batch_size):
            batch = order[start : start + protocol.batch_size]
            shown = pixels[batch]
            if protocol.operations():
                shown = augment(shown, draw_per_image(len(batch), protocol.operations(), random))
            theirs.zero_grad()
            F.cross_entropy(theirs(shown), labels[batch]).backward()
            with torch.no_grad():
                for name, value in theirs.named_parameters():
                    gradient = value.grad + protocol.weight_decay * value
                    velocity[name] = protocol.momentum * velocity[name] + gradient
                    value.sub_(rate * velocity[name])
    return theirs.state_dict()


@pytest.mark.parametrize(
    ("changes", "drop_epoch"),
    [
        ({}, 2),
        ({"augment": "color_crop_cutout_flip_scale_rotate", "epochs": 8}, 4),
        ({"momentum": 0.0, "weight_decay": 0.1, "batch_size": 100}, 2),
        ({"epochs": 5, "drop_at": 0.2, "drop_to": 0.5}, 1),
        ({"drop_at": 1.0}, 99),
        ({"epochs": 1}, 99),
    ],
)
def test_training_equals_sgd_by_hand(changes, drop_epoch):
    protocol = PLAIN.model_copy(update=changes)
    ours, theirs = trained(protocol), by_hand(protocol, drop_epoch)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)


def test_seed_and_repeat_decide_everything():
    same = lambda a, b: all(torch.equal(a[name], b[name]) for name in a)  # noqa: E731
    first = trained(PLAIN)
    torch.manual_seed(99)  # the global generator takes no part
    assert same(first, trained(PLAIN))
    assert not same(first, trained(PLAIN, seed=3))
    assert not same(first, trained(PLAIN, repeat=2))


class BrightestRow(Network):
    """Says which third of the rows is brightest, and notes how large its batches were."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.modes: list[bool] = []

    def features(self, pixels: Tensor) -> Features:
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        self.sizes.append(len(pixels))
        self.modes.append(self.training)
        return torch.stack([pixels[:, :, 2 * k : 2 * k + 2].mean((1, 2, 3)) for k in range(3)], 1)


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1234])
def test_accuracy_counts_every_image_once(count):
    data = toy_dataset((9, 9, 9), test_per_class=412)
    labels = data.test.labels[:count].clone()
    labels[::3] = (labels[::3] + 1) % 3  # a third of the answers is wrong
    split = Split(data.test.images[:count], labels)
    judge = BrightestRow()
    right = sum(
        int(judge(image[None].float()).argmax()) == int(label)
        for image, label in zip(split.images, split.labels, strict=True)
    )
    judge.sizes.clear()
    judge.modes.clear()
    got = accuracy(judge, Pixels(split, fit_preprocessing("normalize", data), CPU))
    assert got == pytest.approx(100 * right / count)
    assert sum(judge.sizes) == count
    assert not any(judge.modes)  # in evaluation mode


def test_a_network_learns_what_can_be_learnt():
    data = toy_dataset((20, 20, 20), test_per_class=20)
    preprocessing = fit_preprocessing("normalize", data)
    ours = network()
    protocol = Protocol(name="plain", epochs=20, batch_size=16, augment="none")
    train(ours, Pixels(data.train, preprocessing, CPU), protocol, seed=0, repeat=0, on_epoch=lambda: None)
    assert accuracy(ours, Pixels(data.test, preprocessing, CPU)) > 95


def test_pixels_and_stored_tensors_give_the_same_batches():
    data = toy_dataset()
    preprocessing = fit_preprocessing("normalize", data)
    stored = StoredTensors(preprocessing.apply(data.train.images), data.train.labels, CPU)
    lazily = Pixels(data.train, preprocessing, CPU)
    chosen = torch.tensor([5, 0, 5, 26])
    assert len(stored) == len(lazily) == 27
    for ours, theirs in zip(stored.batch(chosen), lazily.batch(chosen), strict=True):
        assert torch.equal(ours, theirs)

"""Training one network: against a loop of plain tensors from the same draws, and on sets that are easy to learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.errors import ConfigError, NonFiniteError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.seeding import generator
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.dataset import Split
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.cutmix import draw_cutmix
from atom_distill.ops.dsa import augment, draw_per_image
from atom_distill.ops.features import Features
from atom_distill.training.networks import networks_for
from atom_distill.training.train import accuracies, train
from atom_distill.training.training_execution import ExecutionOptions, TrainingExecution
from atom_distill.training.training_images import Pixels, StoredTensors
from distillation.toys import toy_dataset
from oracles.cutmix import oracle_cutmix

CPU = torch.device("cpu")
SEED, REPEAT = 2, 1
EAGER = TrainingExecution(CPU, torch.float32, compiled=False, at_once=1)
PLAIN = TrainingProtocol(name="plain", epochs=4, batch_size=5, lr=0.05, augment="none")


def network() -> Network:
    return build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8))


def images() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(12, 3, 8, 8, generator=random), torch.arange(12) % 3


def trained(
    protocol: TrainingProtocol, *, seed: int = SEED, repeat: int = REPEAT, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    ours, calls = network().to(dtype), []
    pixels, labels = images()
    train(
        networks_for(ours, EAGER, 1),
        [StoredTensors(pixels.to(dtype), labels, CPU)],
        protocol,
        seed=seed,
        repeats=[repeat],
        on_epoch=lambda: calls.append(1),
    )
    assert len(calls) == protocol.epochs
    return {name: value.clone() for name, value in ours.state_dict().items()}


def by_hand(protocol: TrainingProtocol, drop_epoch: int) -> dict[str, Tensor]:
    """SGD in plain float64 tensors: the weight decay joins the gradient, momentum sums up, the rate falls once."""
    theirs = network().double()
    reinitialize(theirs, generator(SEED, "evaluation network", REPEAT))
    theirs.train()
    pixels, labels = images()[0].double(), images()[1]
    velocity = {name: torch.zeros_like(value) for name, value in theirs.named_parameters()}
    for epoch in range(protocol.epochs):
        rate = protocol.lr * (protocol.drop_to if epoch >= drop_epoch else 1)
        random = generator(SEED, "evaluation epoch", REPEAT, epoch)
        order = torch.randperm(len(labels), generator=random)
        for start in range(0, len(labels), protocol.batch_size):
            batch = order[start : start + protocol.batch_size]
            shown = pixels[batch]
            always = [] if protocol.augment_always == "none" else protocol.augment_always.split("_")
            for operations in [*([name] for name in always), protocol.operations()]:
                if operations:
                    shown = augment(shown, draw_per_image(len(batch), operations, random))
            partner, share = torch.arange(len(batch)), 0.0
            if protocol.cutmix and torch.rand((), generator=random) < protocol.cutmix:
                draw = draw_cutmix(len(batch), 8, 8, random)
                partner = draw.partner
                mixed, _ = oracle_cutmix(
                    shown.numpy(), np.zeros((len(batch), 3)), partner.numpy(), draw.rows, draw.columns
                )
                shown = torch.from_numpy(mixed)
                share = (draw.rows[1] - draw.rows[0]) * (draw.columns[1] - draw.columns[0]) / 64
            theirs.zero_grad()
            logits, targets = theirs(shown), labels[batch]
            loss = (1 - share) * F.cross_entropy(logits, targets) + share * F.cross_entropy(logits, targets[partner])
            loss.backward()
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
        ({"cutmix": 1.0}, 2),
        ({"cutmix": 0.5, "augment_always": "flip_color", "augment": "crop_scale_rotate", "epochs": 8}, 4),
    ],
)
def test_training_equals_sgd_by_hand(changes, drop_epoch):
    protocol = PLAIN.model_copy(update=changes)
    # The formula is compared in float64. In float32, summation order and thus rounding differ between processors (up
    # to 3e-6 here after a few epochs), which no tight tolerance survives.
    ours, theirs = trained(protocol, dtype=torch.float64), by_hand(protocol, drop_epoch)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-12)
    for name, value in trained(protocol).items():
        torch.testing.assert_close(value.double(), theirs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"warmup": 0.4, "momentum": 0.8},
        {"warmup": 0.6, "schedule": "cosine", "epochs": 6, "weight_decay": 0.3},
        {"batch_size": 12, "warmup": 0.5, "epochs": 5, "weight_decay": 0.0},
    ],
)
def test_training_equals_adamw_by_hand(changes):
    """The update of the paper in plain float64 tensors, with a rate that rises from one update to the next."""
    values = {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "constant", **changes}
    protocol = PLAIN.model_copy(update=values)
    theirs = network().double()
    reinitialize(theirs, generator(SEED, "evaluation network", REPEAT))
    pixels, labels = images()[0].double(), images()[1]
    first = {name: torch.zeros_like(value) for name, value in theirs.named_parameters()}
    second = {name: torch.zeros_like(value) for name, value in theirs.named_parameters()}
    updates_per_epoch, count = -(-12 // protocol.batch_size), 0
    for epoch in range(protocol.epochs):
        order = torch.randperm(12, generator=generator(SEED, "evaluation epoch", REPEAT, epoch))
        for start in range(0, 12, protocol.batch_size):
            count += 1
            falling = np.cos(np.pi * epoch / protocol.epochs / 2) ** 2 if protocol.schedule == "cosine" else 1.0
            rising = updates_per_epoch * protocol.warmup * protocol.epochs
            rate = protocol.lr * falling * (min(1.0, count / rising) if rising else 1.0)
            batch = order[start : start + protocol.batch_size]
            theirs.zero_grad()
            F.cross_entropy(theirs(pixels[batch]), labels[batch]).backward()
            with torch.no_grad():
                for name, value in theirs.named_parameters():
                    first[name] = protocol.momentum * first[name] + (1 - protocol.momentum) * value.grad
                    second[name] = 0.999 * second[name] + 0.001 * value.grad**2
                    mean, square = first[name] / (1 - protocol.momentum**count), second[name] / (1 - 0.999**count)
                    value.mul_(1 - rate * protocol.weight_decay).sub_(rate * mean / (square.sqrt() + 1e-8))
    ours = trained(protocol, dtype=torch.float64)
    for name, value in theirs.state_dict().items():
        # A bias before a norm has no gradient but rounding, about 1e-17, which AdamW divides by no less than 1e-8.
        torch.testing.assert_close(ours[name], value, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("norm", "sizes"), [("batch", [4, 5]), ("instance", [4, 4, 1])])
def test_a_last_batch_of_one_image_joins_the_one_before_where_images_are_mixed(norm, sizes):
    """BatchNorm has no statistics of one image, and torch refuses it on maps of one pixel."""
    images = StoredTensors(torch.randn(9, 3, 8, 8, generator=generator(0, "x")), torch.arange(9) % 3, CPU)
    network = networks_for(build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8, depth=3, norm=norm)), EAGER, 1)
    seen, loss = [], network.loss
    network.loss = lambda batch, *rest: (seen.append(batch.shape[1]), loss(batch, *rest))[1]
    protocol = TrainingProtocol(name="short", epochs=2, batch_size=4, augment="none")
    train(network, [images], protocol, seed=0, repeats=[0], on_epoch=lambda: None)
    assert seen == 2 * sizes


def test_weights_that_are_not_finite_are_told_after_their_epoch_and_seen_by_nobody():
    images = StoredTensors(torch.randn(9, 3, 8, 8, generator=generator(0, "x")), torch.arange(9) % 3, CPU)
    network = networks_for(build_model("convnet", (3, 8, 8), 3, NetworkShape(width=8)), EAGER, 1)
    epochs: list[bool] = []

    def after_epoch() -> None:
        epochs.append(all(bool(torch.isfinite(values).all()) for values in network.parameters()))
        network.parameters()[0].data.fill_(torch.nan if len(epochs) == 2 else 0.1)

    protocol = TrainingProtocol(name="short", epochs=50, batch_size=4, augment="none")
    with pytest.raises(NonFiniteError, match="network 8 diverged in epoch 3: its weights are NaN or infinite"):
        train(network, [images], protocol, seed=0, repeats=[7], on_epoch=after_epoch)
    assert epochs == [True, True]


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


@pytest.mark.parametrize("count", [1, 99, 100, 101, 1234])
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
    (got,) = accuracies(networks_for(judge, EAGER, 1), Pixels(split, fit_preprocessing("normalize", data), CPU))
    assert got == pytest.approx(100 * right / count)
    assert sum(judge.sizes) == count
    assert not any(judge.modes)  # in evaluation mode


def test_a_network_learns_what_can_be_learnt():
    data = toy_dataset((20, 20, 20), test_per_class=20)
    preprocessing = fit_preprocessing("normalize", data)
    ours = networks_for(network(), EAGER, 1)
    protocol = TrainingProtocol(name="plain", epochs=20, batch_size=16, augment="none")
    train(ours, [Pixels(data.train, preprocessing, CPU)], protocol, seed=0, repeats=[0], on_epoch=lambda: None)
    assert accuracies(ours, Pixels(data.test, preprocessing, CPU))[0] > 95


def test_pixels_and_stored_tensors_give_the_same_batches():
    data = toy_dataset()
    preprocessing = fit_preprocessing("normalize", data)
    stored = StoredTensors(preprocessing.apply(data.train.images), data.train.labels, CPU)
    lazily = Pixels(data.train, preprocessing, CPU)
    chosen = torch.tensor([5, 0, 5, 26])
    assert len(stored) == len(lazily) == 27
    for ours, theirs in zip(stored.batch(chosen), lazily.batch(chosen), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 2])
def test_soft_labels_are_learnt_as_probabilities(count):
    """Loss and gradients against the float64 sum over classes of -p log q, mean over images, for each network."""
    random = torch.Generator().manual_seed(7)
    shown = torch.randn(count, 5, 3, 8, 8, generator=random)
    soft = torch.randn(count, 5, 3, generator=random).softmax(2)
    group = networks_for(network(), EAGER, count)
    group.initialize([generator(SEED, "evaluation network", repeat) for repeat in range(count)])
    loss = group.loss(shown, soft)
    loss.backward()
    wanted = torch.zeros((), dtype=torch.float64)
    for index in range(count):
        exact = network()
        reinitialize(exact, generator(SEED, "evaluation network", index))
        logits = exact.double().train()(shown[index].double())
        log_q = logits - logits.exp().sum(1, keepdim=True).log()
        one = -(soft[index].double() * log_q).sum() / 5
        one.backward()
        wanted += one.detach()
        for ours, theirs in zip(group.parameters(), exact.parameters(), strict=True):
            found = ours.grad if count == 1 else ours.grad[index]
            torch.testing.assert_close(found, theirs.grad.float(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(loss.detach().double(), wanted, rtol=1e-5, atol=1e-6)


def test_one_hot_soft_labels_train_the_network_of_class_numbers():
    def after(labels: Tensor) -> dict[str, Tensor]:
        ours = network()
        stored = StoredTensors(images()[0], labels, CPU)
        train(networks_for(ours, EAGER, 1), [stored], PLAIN, seed=0, repeats=[0], on_epoch=lambda: None)
        return ours.state_dict()

    hard, soft = after(images()[1]), after(F.one_hot(images()[1], 3).float())
    for name, value in hard.items():
        torch.testing.assert_close(soft[name], value, rtol=1e-4, atol=1e-5)


def test_cutmix_mixes_soft_labels_as_hard_ones():
    protocol = PLAIN.model_copy(update={"cutmix": 0.5})
    found = []
    for labels in (images()[1], F.one_hot(images()[1], 3).float()):
        ours = network()
        stored = StoredTensors(images()[0], labels, CPU)
        train(networks_for(ours, EAGER, 1), [stored], protocol, seed=0, repeats=[0], on_epoch=lambda: None)
        found.append(ours.state_dict())
    for name, value in found[0].items():
        assert torch.equal(found[1][name], value)


def test_the_machine_chooses_and_the_user_overrides():
    short = ExecutionOptions().plan(CPU, pixels=1e5, repeats=5)
    assert (short.dtype, short.compiled, short.at_once) == (torch.float32, False, 1)
    wished = ExecutionOptions("bfloat16", "on", 3).plan(CPU, pixels=1, repeats=2, cores=8)
    assert (wished.dtype, wished.compiled, wished.at_once, wished.cores) == (torch.bfloat16, True, 1, 3)
    assert ExecutionOptions(at_once=3).plan(CPU, pixels=1e12, repeats=5, cores=2).cores == 2
    assert ExecutionOptions(at_once=1).plan(CPU, pixels=1e12, repeats=5, cores=2).cores == 1
    assert ExecutionOptions(at_once=3).plan(torch.device("cuda"), pixels=1, repeats=2, cores=8).at_once == 2
    with pytest.raises(ConfigError, match="at_once"):
        ExecutionOptions(at_once=-1)


def test_low_precision_trains_the_same_network():
    def run(dtype: torch.dtype) -> dict[str, Tensor]:
        ours = network()
        group = networks_for(ours, TrainingExecution(CPU, dtype, compiled=False, at_once=1), 1)
        gentle = PLAIN.model_copy(update={"epochs": 2, "lr": 0.01})
        train(group, [StoredTensors(*images(), CPU)], gentle, seed=0, repeats=[0], on_epoch=lambda: None)
        return {name: value.clone() for name, value in ours.state_dict().items()}

    full, low = run(torch.float32), run(torch.bfloat16)
    for name, value in full.items():
        assert low[name].dtype == torch.float32
        assert (low[name] - value).norm() < 0.05 * value.norm() + 0.01
    assert not torch.equal(full["classifier.weight"], low["classifier.weight"])

"""Train one network from scratch, and measure its accuracy."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from atom_distill.base.errors import NonFiniteError
from atom_distill.base.seeding import generator
from atom_distill.config.protocol import Protocol
from atom_distill.evaluation.sources import Pixels, TrainingImages
from atom_distill.models.initialization import reinitialize
from atom_distill.models.registry import Network
from atom_distill.ops.dsa import augment, draw_per_image

_TEST_BATCH = 500


def train(
    network: Network,
    images: TrainingImages,
    protocol: Protocol,
    *,
    seed: int,
    repeat: int,
    on_epoch: Callable[[], None],
) -> None:
    """Train `network` in place from a fresh initialisation.

    Args:
        network: on the device of the images.
        images: what to train on.
        protocol: how.
        seed: of the evaluation.
        repeat: which network of it; (seed, repeat) decides everything random.
        on_epoch: called after each epoch.

    Raises:
        NonFiniteError: the training diverged, and an accuracy would mean nothing.
    """
    reinitialize(network, generator(seed, "evaluation network", repeat))
    optimiser = torch.optim.SGD(
        network.parameters(), lr=protocol.lr, momentum=protocol.momentum, weight_decay=protocol.weight_decay
    )
    drop_epoch = max(1, round(protocol.epochs * protocol.drop_at))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [drop_epoch], gamma=protocol.drop_to)
    network.train()
    for epoch in range(protocol.epochs):
        _epoch(network, images, protocol, optimiser, generator(seed, "evaluation epoch", repeat, epoch))
        schedule.step()
        on_epoch()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
        raise NonFiniteError(f"network {repeat + 1} diverged: its weights are NaN or infinite; try a smaller --lr")


@torch.no_grad()
def accuracy(network: Network, images: Pixels) -> float:
    """Share of images that `network` classifies rightly, percent."""
    network.eval()
    right = 0
    for indices in torch.arange(len(images)).split(_TEST_BATCH):
        batch, labels = images.batch(indices)
        logits = network(batch)
        right += int((logits.argmax(1) == labels).sum())
    return 100 * right / len(images)


def _epoch(
    network: Network,
    images: TrainingImages,
    protocol: Protocol,
    optimiser: torch.optim.Optimizer,
    random: torch.Generator,
) -> None:
    operations = protocol.operations()
    for indices in torch.randperm(len(images), generator=random).split(protocol.batch_size):
        batch, labels = images.batch(indices)
        if operations:
            batch = augment(batch, draw_per_image(len(batch), operations, random))
        loss = F.cross_entropy(network(batch), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

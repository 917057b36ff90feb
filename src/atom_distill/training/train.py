"""Train networks from scratch, and measure their accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atom_distill.base.errors import NonFiniteError
from atom_distill.base.seeding import generator
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.ops.dsa import Draw, augment, draw_per_image
from atom_distill.training.networks import Networks
from atom_distill.training.training_images import Pixels, TrainingImages

_TEST_BATCH = 100
"""Images tested at once; their maps stay in a processor's cache."""


def train(
    networks: Networks,
    images: Sequence[TrainingImages],
    protocol: TrainingProtocol,
    *,
    seed: int,
    repeats: Sequence[int],
    on_epoch: Callable[[], None],
    updates: int | None = None,
) -> None:
    """Train networks together, in place, from a fresh initialization.

    Args:
        networks: on the device of the images.
        images: what each is trained on; all of one size.
        protocol: how.
        seed: of the evaluation.
        repeats: the number of each network in it; (seed, repeat) decides everything random.
        on_epoch: called after each epoch.
        updates: of the weights after which to stop early; None goes on to the end.

    Raises:
        NonFiniteError: the training diverged, and an accuracy would mean nothing.
    """
    networks.initialize([generator(seed, "evaluation network", repeat) for repeat in repeats])
    parameters = networks.parameters()
    optimizer = torch.optim.SGD(
        parameters,
        lr=protocol.lr,
        momentum=protocol.momentum,
        weight_decay=protocol.weight_decay,
        fused=parameters[0].device.type in ("cpu", "cuda"),
    )
    drop_epoch = max(1, round(protocol.epochs * protocol.drop_at))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [drop_epoch], gamma=protocol.drop_to)
    left = updates
    for epoch in range(protocol.epochs):
        randoms = [generator(seed, "evaluation epoch", repeat, epoch) for repeat in repeats]
        done = _epoch(networks, images, protocol, optimizer, randoms, left)
        schedule.step()
        on_epoch()
        left = None if left is None else left - done
        if left == 0:
            break
    for index in networks.diverged():
        raise NonFiniteError(
            f"network {repeats[index] + 1} diverged: its weights are NaN or infinite; a smaller learning rate may help"
        )


def accuracies(networks: Networks, images: Pixels) -> list[float]:
    """Share of images that each network classifies rightly, percent."""
    right: Tensor | int = 0
    for indices in torch.arange(len(images)).split(_TEST_BATCH):
        right += networks.right(*images.batch(indices))
    assert isinstance(right, Tensor)  # a test split without images does not get here
    return [100 * count / len(images) for count in right.tolist()]


def _epoch(
    networks: Networks,
    images: Sequence[TrainingImages],
    protocol: TrainingProtocol,
    optimizer: torch.optim.Optimizer,
    randoms: Sequence[torch.Generator],
    updates: int | None,
) -> int:
    """Pass over the images once, or stop after some updates; returns how many there were."""
    orders = torch.stack([torch.randperm(len(images[0]), generator=random) for random in randoms])
    parts = orders.split(protocol.batch_size, dim=1)[:updates]
    for chosen in parts:
        batches = [of_one.batch(indices) for of_one, indices in zip(images, chosen, strict=True)]
        batch = torch.stack([pixels for pixels, _ in batches])
        labels = torch.stack([targets for _, targets in batches])
        if protocol.operations():
            batch = _augmented(batch, protocol.operations(), randoms)
        loss = networks.loss(batch, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(parts)


def _augmented(batch: Tensor, operations: Sequence[str], randoms: Sequence[torch.Generator]) -> Tensor:
    """Augment [R, B, C, H, W], one operation for each network's batch and parameters for each image."""
    draws = [draw_per_image(batch.shape[1], operations, random) for random in randoms]
    together = Draw(torch.cat([draw.operation for draw in draws]), torch.cat([draw.uniforms for draw in draws]))
    return augment(batch.flatten(0, 1), together).view(batch.shape)

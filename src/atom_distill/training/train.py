"""Train networks from scratch, and measure their accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.errors import NonFiniteError
from atom_distill.base.seeding import generator
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.ops.cutmix import draw_cutmix, mix
from atom_distill.ops.dsa import Draw, augment, draw_per_image
from atom_distill.training.networks import Networks
from atom_distill.training.optimizer import build_optimizer, optimizer_state
from atom_distill.training.schedules import SCHEDULES, warm_up
from atom_distill.training.training_images import Pixels, TrainingImages

_TEST_BATCH = 100
"""Images tested at once; their maps stay in a processor's cache."""


@dataclass
class TrainingState:
    """Where a training stands after an epoch, besides the weights.

    Attributes:
        epochs: finished.
        optimizer: its tensors by name, see `optimizer_state`.
    """

    epochs: int = 0
    optimizer: dict[str, Tensor] = field(default_factory=dict)


def initial_generator(seed: int, repeat: int) -> torch.Generator:
    """Return the generator from which the initial weights of a network are drawn."""
    return generator(seed, "evaluation network", repeat)


def train(
    networks: Networks,
    images: Sequence[TrainingImages],
    protocol: TrainingProtocol,
    *,
    seed: int,
    repeats: Sequence[int],
    on_epoch: Callable[[], None],
    updates: int | None = None,
    state: TrainingState | None = None,
) -> None:
    """Train networks together, in place, from a fresh initialization or from where they are.

    Args:
        networks: on the device of the images.
        images: what each is trained on; all of one size.
        protocol: how they are trained.
        seed: of the evaluation.
        repeats: number of each network in the evaluation; (seed, repeat) decides all random draws.
        on_epoch: called after each epoch.
        updates: number of updates of the weights after which to stop early; None for all epochs.
        state: where the networks' training stands, updated in place before each `on_epoch`; None begins anew.

    Raises:
        NonFiniteError: the training diverged.
        UnknownNameError: the protocol names an unknown schedule.
    """
    state = state or TrainingState()
    if not state.epochs:
        networks.initialize([initial_generator(seed, repeat) for repeat in repeats])
    parameters = networks.parameters()
    optimizer = build_optimizer(parameters, protocol, state.optimizer)
    left = updates
    for epoch in range(state.epochs, protocol.epochs):
        randoms = [generator(seed, "evaluation epoch", repeat, epoch) for repeat in repeats]
        done = _epoch(epoch, networks, images, protocol, optimizer, randoms, left)
        _require_finite(networks, repeats, epoch)  # before anybody saves the weights
        state.epochs, state.optimizer = epoch + 1, optimizer_state(optimizer, parameters)
        on_epoch()
        left = None if left is None else left - done
        if left == 0:
            break


def _require_finite(networks: Networks, repeats: Sequence[int], epoch: int) -> None:
    diverged = [str(repeats[index] + 1) for index in networks.diverged()]
    if diverged:
        each, weights = ("network", "its") if len(diverged) == 1 else ("networks", "their")
        raise NonFiniteError(
            f"{each} {', '.join(diverged)} diverged in epoch {epoch + 1}: {weights} weights are NaN or infinite"
        )


def accuracies(networks: Networks, images: Pixels) -> list[float]:
    """Return the test accuracy of each network, percent."""
    correct: Tensor | int = 0
    for indices in torch.arange(len(images)).split(_TEST_BATCH):
        correct += networks.correct(*images.batch(indices))
    assert isinstance(correct, Tensor)  # a test split without images does not get here
    return [100 * count / len(images) for count in correct.tolist()]


def _epoch(
    epoch: int,
    networks: Networks,
    images: Sequence[TrainingImages],
    protocol: TrainingProtocol,
    optimizer: torch.optim.Optimizer,
    randoms: Sequence[torch.Generator],
    updates: int | None,
) -> int:
    """Pass over the images once, or stop after some updates; return the number of updates."""
    orders = torch.stack([torch.randperm(len(images[0]), generator=random) for random in randoms])
    parts = orders.split(protocol.batch_size, dim=1)
    if len(parts) > 1 and parts[-1].shape[1] == 1 and networks.mixes_images:  # one image has no statistics
        parts = (*parts[:-2], torch.cat(parts[-2:], dim=1))
    rate = protocol.lr * SCHEDULES.get(protocol.schedule)(epoch, protocol)
    for number, chosen in enumerate(parts[:updates], start=1):
        batches = [of_one.batch(indices) for of_one, indices in zip(images, chosen, strict=True)]
        batch = torch.stack([pixels for pixels, _ in batches])
        labels = torch.stack([targets for _, targets in batches])
        for operations in protocol.augmentations():
            batch = _augmented(batch, operations, randoms)
        if protocol.cutmix:
            batch, labels = _mixed(batch, _probabilities(labels, networks), protocol.cutmix, randoms)
        loss = networks.loss(batch, labels, protocol.loss, protocol.temperature)
        optimizer.param_groups[0]["lr"] = rate * warm_up(epoch + number / len(parts), protocol)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return len(parts[:updates])


def _augmented(batch: Tensor, operations: Sequence[str], randoms: Sequence[torch.Generator]) -> Tensor:
    """Augment [R, B, C, H, W], one operation for each network's batch and parameters for each image."""
    draws = [draw_per_image(batch.shape[1], operations, random) for random in randoms]
    together = Draw(torch.cat([draw.operation for draw in draws]), torch.cat([draw.uniforms for draw in draws]))
    return augment(batch.flatten(0, 1), together).view(batch.shape)


def _probabilities(labels: Tensor, networks: Networks) -> Tensor:
    """Return labels [R, B] as probabilities float32 [R, B, K]; soft labels are those already."""
    return labels if labels.ndim == 3 else F.one_hot(labels, networks.num_classes).float()


def _mixed(
    batch: Tensor, targets: Tensor, probability: float, randoms: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """Mix [R, B, C, H, W] and targets [R, B, K] by CutMix, each network's batch with some probability."""
    _, count, _, height, width = batch.shape
    pairs = []
    for images, labels, random in zip(batch, targets, randoms, strict=True):
        if float(torch.rand((), generator=random)) < probability:
            pairs.append(mix(images, labels, draw_cutmix(count, height, width, random)))
        else:
            pairs.append((images, labels))
    return torch.stack([images for images, _ in pairs]), torch.stack([labels for _, labels in pairs])

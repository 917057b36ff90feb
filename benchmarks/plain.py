"""The yardstick: the loop of `examples/atom_in_one_file.py`, and an evaluation as the field's scripts write it.

Nothing here is used by the package: same mathematics, written plainly, in float32 and eager. In evaluation, networks
are trained one after another, and images augmented one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))

from atom_in_one_file import ConvNet, augment, distill, random_draw

__all__ = ["distill", "evaluate", "new_network"]


def new_network(image_shape: Sequence[int], num_classes: int, *, depth: int, norm: str) -> ConvNet:
    """Return a random network; norm is "instance", or "batch" as in DataDAM's published code."""
    network = ConvNet(image_shape, num_classes, depth)
    if norm == "batch":
        for block in network.blocks:
            assert isinstance(block, nn.Sequential)
            assert isinstance(block[1], nn.GroupNorm)
            block[1] = nn.BatchNorm2d(block[1].num_channels)
    return network


def evaluate(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    epochs: int,
    networks: int,
) -> list[float]:
    """Train networks one after another, and return their test accuracies in percent."""
    accuracies = []
    for _ in range(networks):
        network = new_network(images.shape[1:], int(labels.max()) + 1, depth=3, norm="instance").to(images.device)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        for epoch in range(epochs):
            if epoch == max(1, round(epochs / 2)):
                optimizer.param_groups[0]["lr"] = 0.001
            for chosen in torch.randperm(len(images)).split(256):
                batch = _augmented_one_by_one(images[chosen])
                loss = F.cross_entropy(_logits(network, batch), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        accuracies.append(_accuracy(network, test_images, test_labels))
    return accuracies


def _augmented_one_by_one(images: Tensor) -> Tensor:
    """Apply one operation to all images, with parameters of its own for each."""
    operation, _ = random_draw()
    return torch.cat([augment(image, (operation, random_draw()[1])) for image in images.split(1)])


def _logits(network: ConvNet, images: Tensor) -> Tensor:
    _, embedding = network(images)
    logits: Tensor = network.classifier(embedding)
    return logits


@torch.no_grad()
def _accuracy(network: ConvNet, images: Tensor, labels: Tensor) -> float:
    network.eval()
    predicted = torch.cat([_logits(network, part).argmax(1) for part in images.split(256)])
    return 100 * (predicted == labels).float().mean().item()

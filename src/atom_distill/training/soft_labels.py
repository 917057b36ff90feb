"""Soft labels: the probabilities of the classes that trained networks predict for images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atom_distill.models.network import Network

_BATCH = 500


@torch.no_grad()
def soft_labels_of(networks: Sequence[Network], images: Tensor) -> Tensor:
    """Return the mean softmax probabilities of images in some networks, float32 [M, K] on the CPU.

    They are rounded to float16, so that they take two bytes each in a file.

    Args:
        networks: at least one, trained, in the model space of the images; they are left in evaluation mode.
        images: float32 [M, C, H, W], moved to each network's device in parts.
    """
    summed = sum(_probabilities(network, images) for network in networks)
    assert isinstance(summed, Tensor)  # there is a network
    return (summed / len(networks)).half().float()


def _probabilities(network: Network, images: Tensor) -> Tensor:
    """Return the softmax probabilities of one network, float64 [M, K]: their mean is then rounded once."""
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(part.to(device)).double().softmax(1).cpu() for part in images.split(_BATCH)])

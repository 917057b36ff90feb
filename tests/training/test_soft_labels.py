"""Soft labels against the float64 formula, network by network and image by image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.training.soft_labels import soft_labels_of


@torch.no_grad()
def decided_network(norm: str, images: Tensor) -> Network:
    """A network whose logits of the images are centered, with deviation 2, as if it was trained."""
    network = build_model("convnet", (3, 8, 8), 4, NetworkShape(width=4, norm=norm)).eval()
    reinitialize(network, torch.Generator().manual_seed(0))
    for _ in range(2):
        logits = network(images)
        network.classifier.weight *= 2 / logits.std(0).unsqueeze(1)
        network.classifier.bias *= 0
        network.classifier.bias -= network(images).mean(0)
    return network


def test_they_are_the_mean_of_softmax_probabilities():
    coarse = torch.randn(1003, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    images = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    networks = [decided_network(norm, images) for norm in ("none", "batch")]
    found = soft_labels_of(networks, images)
    logits = torch.stack([network.eval()(images) for network in networks]).detach().double().numpy()
    wanted = np.zeros((1003, 4))
    for of_one in logits:
        for index, row in enumerate(of_one):
            powers = [np.exp(value - row.max()) for value in row]
            wanted[index] += np.array(powers) / sum(powers) / 2
    np.testing.assert_allclose(found.numpy(), wanted, rtol=2**-11 + 1e-4, atol=1e-7)
    assert torch.equal(found.half().float(), found)
    assert found.dtype == torch.float32
    assert wanted.std(0).max() > 0.05  # the images differ
    assert not any(network.training for network in networks)


def test_one_image_alone_is_labelled_as_among_others():
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    network = decided_network("batch", images)
    alone = soft_labels_of([network], images[:1])
    torch.testing.assert_close(soft_labels_of([network], images)[:1], alone, rtol=2e-3, atol=1e-6)

"""Embeddings of real images in a trained network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atom_distill.models.network import Network
from atom_distill.training.training_images import Pixels

Embeddings = Callable[[Tensor], Tensor]
"""From indices [n] of training images to their embeddings, float32 [n, D], on the CPU."""
_BATCH = 500


@torch.no_grad()
def embeddings_of(network: Network, images: Pixels, indices: Tensor) -> Tensor:
    """Return the embeddings of images at indices [n] in eval mode, float32 [n, D], on the CPU."""
    network.eval()
    return torch.cat([network.features(images.batch(part)[0]).embedding.cpu() for part in indices.split(_BATCH)])

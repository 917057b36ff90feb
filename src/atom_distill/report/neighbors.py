"""The real images that are nearest to synthetic ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.report.fixed_network import FixedNetwork

NEIGHBORS = 3
"""Real images beside each synthetic one."""
_MAX_EMBEDDED = 1000
"""Real images whose embeddings are computed, for all synthetic ones together."""
_SHORTLIST = (4, 16)
"""Minimum and maximum number of candidates for a synthetic image."""
_MAX_PER_CLASS = 10_000
"""Maximum number of training images of a class that are compared."""
_PART_BYTES = 64 * 2**20
"""Bytes of those that are compared at once, as float32: images may be large."""


def nearest(
    intensities: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    dataset: ImageDataset,
    network: FixedNetwork,
    preprocessing: Preprocessing,
) -> Tensor:
    """Return the nearest training images of the same class.

    Args:
        intensities: of synthetic images, float32 [M, C, H, W], of any range.
        embeddings: of these images in the network, float32 [M, D].
        labels: of these images, int64 [M].
        dataset: whose training images are searched.
        network: computes the embeddings of real images.
        preprocessing: of real images for the network.

    Returns:
        Indices into the training split, nearest first, int64 [M, 3]; -1 where a class has fewer images.
    """
    least, most = _SHORTLIST
    size = min(most, max(least, _MAX_EMBEDDED // max(1, len(labels))))
    candidates = _shortlists(intensities, labels, dataset, size)
    embedded, places = candidates.clamp_min(0).unique(return_inverse=True)
    batches = network.real_batches(dataset, embedded, preprocessing, "nearest real images")
    real = torch.cat([responses.embedding for responses in batches])
    distances = (real[places] - embeddings[:, None]).square().sum(2)
    distances[candidates < 0] = torch.inf
    order = distances.argsort(dim=1, stable=True)[:, :NEIGHBORS]
    found = candidates.gather(1, order)
    return F.pad(found, (0, NEIGHBORS - found.shape[1]), value=-1)


def _shortlists(intensities: Tensor, labels: Tensor, dataset: ImageDataset, size: int) -> Tensor:
    """Return the training images of the class whose pixels correlate most: indices int64 [M, size], -1 for none."""
    found = torch.full((len(labels), size), -1)
    synthetic = _standardized(intensities)
    for label, indices in enumerate(dataset.class_indices()):
        rows, candidates = (labels == label).nonzero().flatten(), indices[:_MAX_PER_CLASS]
        if not len(rows):
            continue
        parts = candidates.split(max(1, _PART_BYTES // (4 * synthetic.shape[1])))
        correlations = torch.cat(
            [synthetic[rows] @ _standardized(dataset.train.images[part].float()).T for part in parts], dim=1
        )
        count = min(size, len(candidates))
        found[rows[:, None], torch.arange(count)] = candidates[correlations.topk(count, dim=1).indices]
    return found


def _standardized(images: Tensor) -> Tensor:
    """Return each image as a vector of mean 0 and length 1, [n, C * H * W], to ignore brightness and contrast."""
    flat = images.flatten(1)
    return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)

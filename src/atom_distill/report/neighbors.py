"""The real images that synthetic ones resemble most."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.report.probe import Probe

NEIGHBORS = 3
"""Real images beside each synthetic one."""
_LOOKED_AT = 1000
"""Real images that the network looks at, for all synthetic ones together."""
_SHORTLIST = (4, 16)
"""Candidates of a synthetic image, at least and at most."""
_CLASS_AT_MOST = 10_000
"""Training images of a class that are compared."""

DESCRIPTION = (
    "of the training images of its class, those that correlate most with it pixel by pixel, in the order of the "
    "distance of their embeddings in {network}. Beside an image is the nearest that it did not begin as."
)
"""How they are found, for the page."""


def nearest(
    intensities: Tensor,
    embeddings: Tensor,
    labels: Tensor,
    dataset: ImageDataset,
    probe: Probe,
    preprocessing: Preprocessing,
) -> Tensor:
    """Find the training images of the same class that are nearest.

    Args:
        intensities: of synthetic images, float32 [M, C, H, W], of any range.
        embeddings: what the probe makes of them, float32 [M, D].
        labels: theirs, int64 [M].
        dataset: where to look.
        probe: makes embeddings.
        preprocessing: of real images for the probe.

    Returns:
        Indices into the training split, nearest first, int64 [M, 3]; -1 where a class has fewer images.
    """
    least, most = _SHORTLIST
    size = min(most, max(least, _LOOKED_AT // max(1, len(labels))))
    candidates = _shortlists(intensities, labels, dataset, size)
    looked_at, places = candidates.clamp_min(0).unique(return_inverse=True)

    def load(part: Tensor) -> Tensor:
        return preprocessing.apply(dataset.train.images[looked_at[part]])

    parts = [look.embedding for _, look in probe.look_at_many(len(looked_at), load, "look for the nearest")]
    real = torch.cat(parts)
    distances = (real[places] - embeddings[:, None]).square().sum(2)
    distances[candidates < 0] = torch.inf
    order = distances.argsort(dim=1, stable=True)[:, :NEIGHBORS]
    found = candidates.gather(1, order)
    return F.pad(found, (0, NEIGHBORS - found.shape[1]), value=-1)


def _shortlists(intensities: Tensor, labels: Tensor, dataset: ImageDataset, size: int) -> Tensor:
    """Find the training images of the class whose pixels correlate most: indices int64 [M, size], -1 for none."""
    found = torch.full((len(labels), size), -1)
    ours = _standard(intensities)
    for label, indices in enumerate(dataset.class_indices()):
        mine, theirs = (labels == label).nonzero().flatten(), indices[:_CLASS_AT_MOST]
        if not len(mine):
            continue
        alike = ours[mine] @ _standard(dataset.train.images[theirs].float()).T
        count = min(size, len(theirs))
        found[mine[:, None], torch.arange(count)] = theirs[alike.topk(count, dim=1).indices]
    return found


def _standard(images: Tensor) -> Tensor:
    """Make each image a vector without mean and of length 1, whatever its brightness and contrast: [n, C * H * W]."""
    flat = images.flatten(1)
    return F.normalize(flat - flat.mean(1, keepdim=True), dim=1)

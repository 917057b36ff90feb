"""Coreset selection: choose a few real images by their embeddings or by how their training went.

Each function gets the images of one class and returns indices into them, int64 [count], in the order of choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError


def herding(embeddings: Tensor, count: int) -> Tensor:
    """Choose images one by one, each bringing the mean of the chosen images nearest to the mean of all.

    Args:
        embeddings: shape [n, D].
        count: images to choose, at most n.

    Raises:
        ShapeError: there are fewer than `count`.

    Source: Welling (2009); Rebuffi et al., iCaRL (CVPR 2017), Algorithm 4.
    """
    embeddings = _widen(embeddings, count)
    mean, total = embeddings.mean(dim=0), torch.zeros_like(embeddings[0])
    free = torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)
    chosen = []
    for size in range(1, count + 1):
        # |mean - (total + x) / size| is smallest where |x - (size * mean - total)| is.
        distances = (embeddings - (size * mean - total)).square().sum(dim=1)
        best = int(distances.masked_fill(~free, torch.inf).argmin())
        free[best] = False
        total = total + embeddings[best]
        chosen.append(best)
    return torch.tensor(chosen)


def k_center(embeddings: Tensor, count: int) -> Tensor:
    """Choose the image nearest to the mean, then repeatedly the one farthest from all chosen ones.

    Args:
        embeddings: shape [n, D].
        count: images to choose, at most n.

    Raises:
        ShapeError: there are fewer than `count`.

    Source: Sener & Savarese (ICLR 2018), Algorithm 1 (greedy), with the start of the DC paper.
    """
    embeddings = _widen(embeddings, count)
    chosen = [int((embeddings - embeddings.mean(dim=0)).square().sum(dim=1).argmin())]
    nearest = torch.full((len(embeddings),), torch.inf, dtype=embeddings.dtype, device=embeddings.device)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (embeddings - embeddings[chosen[-1]]).square().sum(dim=1))
        nearest[chosen[-1]] = -1  # never chosen again, even among duplicates
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def nearest_to_k_means(embeddings: Tensor, count: int, seed: int) -> Tensor:
    """Choose for each of `count` clusters of k-means the image nearest to its center.

    Args:
        embeddings: shape [n, D].
        count: images to choose, at most n.
        seed: of the first centers.

    Raises:
        ShapeError: there are fewer than `count`.

    Source: the initial images of DREAM (arXiv 2302.14416).
    """
    distances, _ = _k_means(embeddings, count, seed)
    chosen = []
    for row in distances:
        chosen.append(int(row.argmin()))
        distances[:, chosen[-1]] = torch.inf  # never chosen again, even where centers coincide
    return torch.tensor(chosen)


def central_parts(embeddings: Tensor, count: int, seed: int) -> list[Tensor]:
    """Return for each of `count` clusters of k-means its images nearest to the center, half of them.

    Args:
        embeddings: shape [n, D].
        count: clusters, at most n.
        seed: of the first centers.

    Returns:
        Indices int64 [m], nearest first, for each cluster; one for a cluster that duplicates leave empty.

    Raises:
        ShapeError: there are fewer images than `count`.
    """
    distances, cluster = _k_means(embeddings, count, seed)
    parts = []
    for number, row in enumerate(distances):
        members = (cluster == number).nonzero().flatten()
        members = members if len(members) else row.argmin(keepdim=True)
        nearest = members[row[members].argsort(stable=True)]
        parts.append(nearest[: (len(nearest) + 1) // 2])
    return parts


def forgetting_events(correct: Tensor) -> Tensor:
    """Count how often each image was forgotten: classified correctly after one epoch and incorrectly after the next.

    Args:
        correct: bool [E, n], whether each image was classified correctly after each of E epochs.

    Returns:
        int64 [n]. An image that was never classified correctly counts E, more than any other can have.

    Source: Toneva et al. (ICLR 2019), Algorithm 1.
    """
    events = (correct[:-1] & ~correct[1:]).sum(dim=0)
    return torch.where(correct.any(dim=0), events, len(correct))


def most_forgotten(events: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choose the images with the most forgetting events; ties are broken at random.

    Args:
        events: int64 [n].
        count: images to choose, at most n.
        generator: on the CPU.

    Raises:
        ShapeError: there are fewer than `count`.
    """
    _check_count(len(events), count)
    order = torch.randperm(len(events), generator=generator)
    return order[events.cpu()[order].argsort(descending=True, stable=True)[:count]]


def _k_means(embeddings: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the distance of each center to each image [count, n], and the cluster of each image, int64 [n]."""
    from sklearn.cluster import KMeans

    embeddings = _widen(embeddings, count).cpu()
    found = KMeans(count, n_init=1, random_state=seed % 2**32).fit(embeddings.numpy())
    distances = torch.cdist(torch.from_numpy(found.cluster_centers_).to(embeddings.dtype), embeddings)
    return distances, torch.from_numpy(found.labels_).long()


def _widen(embeddings: Tensor, count: int) -> Tensor:
    """Return the embeddings in at least float32, since many are summed."""
    _check_count(len(embeddings), count)
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def _check_count(available: int, count: int) -> None:
    if not 1 <= count <= available:
        raise ShapeError(f"cannot choose {count} of {available} images")

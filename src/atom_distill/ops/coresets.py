"""Choose a few of many real images: by their embeddings, or by how a training went.

All work on the images of one class, and give places in it, int64 [count], in the order of choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError


def herding(embeddings: Tensor, count: int) -> Tensor:
    """Choose images one by one, each so that the mean of the chosen comes nearest to the mean of all.

    Args:
        embeddings: shape [n, D].
        count: images to choose, at most n.

    Raises:
        ShapeError: there are fewer than `count`.

    Source: Welling (2009); Rebuffi et al., iCaRL (CVPR 2017), Algorithm 4.
    """
    embeddings = _wide(embeddings, count)
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
    """Choose the image nearest to the mean, then always the one that is farthest from those chosen.

    Args:
        embeddings: shape [n, D].
        count: images to choose, at most n.

    Raises:
        ShapeError: there are fewer than `count`.

    Source: Sener & Savarese (ICLR 2018), Algorithm 1 (greedy), with the start of the DC paper.
    """
    embeddings = _wide(embeddings, count)
    chosen = [int((embeddings - embeddings.mean(dim=0)).square().sum(dim=1).argmin())]
    nearest = torch.full((len(embeddings),), torch.inf, dtype=embeddings.dtype, device=embeddings.device)
    while len(chosen) < count:
        nearest = torch.minimum(nearest, (embeddings - embeddings[chosen[-1]]).square().sum(dim=1))
        nearest[chosen[-1]] = -1  # never again, not even among equal images
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def forgetting_events(right: Tensor) -> Tensor:
    """Count how often each image was unlearned: classified rightly after one epoch and wrongly after the next.

    Args:
        right: bool [E, n], whether each image was classified rightly after each of E epochs.

    Returns:
        int64 [n]. An image that was never right counts E, more than any other can have.

    Source: Toneva et al. (ICLR 2019), Algorithm 1.
    """
    events = (right[:-1] & ~right[1:]).sum(dim=0)
    return torch.where(right.any(dim=0), events, len(right))


def most_forgotten(events: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choose the images with most forgetting events; `generator` decides between equals.

    Args:
        events: int64 [n].
        count: images to choose, at most n.
        generator: on the CPU.

    Raises:
        ShapeError: there are fewer than `count`.
    """
    _expect(len(events), count)
    order = torch.randperm(len(events), generator=generator)
    return order[events.cpu()[order].argsort(descending=True, stable=True)[:count]]


def _wide(embeddings: Tensor, count: int) -> Tensor:
    """Give them in at least float32: sums of many are taken."""
    _expect(len(embeddings), count)
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def _expect(available: int, count: int) -> None:
    if not 1 <= count <= available:
        raise ShapeError(f"cannot choose {count} of {available} images")

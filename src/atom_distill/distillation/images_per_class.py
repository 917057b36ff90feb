"""How many synthetic images each class gets: ipc, or a share of a budget in proportion to its training images."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.data.dataset import ImageDataset


def images_per_class(dataset: ImageDataset, ipc: int | None, budget: int | None) -> Tensor:
    """Return the number of synthetic images of each class, int64 [K].

    Args:
        dataset: its training split.
        ipc: images of every class; None where there is a budget.
        budget: total number of images.

    Raises:
        ConfigError: the budget is less than an image a class, or more than there are.
    """
    if budget is not None:
        return proportional(dataset.class_sizes(), budget)
    assert ipc is not None  # the settings hold one of the two
    return torch.full((dataset.num_classes,), ipc)


def proportional(sizes: Tensor, budget: int) -> Tensor:
    """Allocate a budget in proportion to the sizes of the classes, each getting from one image to all it has.

    Sainte-Lague's method: image after image goes to the class that has the fewest for its size. No class loses an image
    when the budget grows.

    Args:
        sizes: training images, int64 [K], each at least 1.
        budget: total number of synthetic images.

    Returns:
        int64 [K], whose sum is the budget.

    Raises:
        ConfigError: the budget is less than an image a class, or more than there are.
    """
    classes, images = len(sizes), int(sizes.sum())
    if not classes <= budget <= images:
        raise ConfigError(
            f"`budget` {budget} is out of range: it must be between {classes} (one image per class) and {images} (all "
            "training images)"
        )
    given, has = [1] * classes, sizes.tolist()
    wanting = [(-size / 3, label) for label, size in enumerate(has) if size > 1]
    heapq.heapify(wanting)
    for _ in range(budget - classes):
        _, label = heapq.heappop(wanting)
        given[label] += 1
        if given[label] < has[label]:
            heapq.heappush(wanting, (-has[label] / (2 * given[label] + 1), label))
    return torch.tensor(given)


def class_labels(per_class: Tensor) -> Tensor:
    """Return the label of each synthetic image, int64 [M], class after class, from counts int64 [K]."""
    return torch.repeat_interleave(torch.arange(len(per_class)), per_class)


def first_of_each(per_class: Tensor, most: int) -> Tensor:
    """Return which images of a set, class after class, represent it: all, or the first ones of each class.

    Args:
        per_class: images of each class, int64 [K].
        most: maximum number of images; if less than the number of classes, the last classes have none.

    Returns:
        Rows of the set, int64 [n], ascending.
    """
    place = torch.cat([torch.arange(count) for count in per_class.tolist()])
    return place.argsort(stable=True)[:most].sort().values

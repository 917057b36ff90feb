"""The first images of each class of a set: which they are, and how many of them fit into a size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError


def images_within(limit: int, held: int, size_of: Callable[[int], int]) -> int:
    """Return the largest number of images per class whose size keeps a limit.

    Args:
        limit: bytes per class.
        held: images per class that the set has.
        size_of: from a number of images per class to bytes per class, which grow with it.

    Raises:
        ConfigError: not even one image fits.
    """
    most = bisect_left(range(1, held + 1), True, key=lambda images: size_of(images) > limit)
    if most == 0:
        raise ConfigError(
            f"`bytes` must be at least {size_of(1)} here, the size of one image of each class, got {limit}"
        )
    return most


def first_rows(row_labels: Tensor, count: int) -> Tensor:
    """Return the places of the first rows of each class, int64 ascending.

    Args:
        row_labels: ascending, int64 [R].
        count: rows of each class; a class that has fewer keeps all.
    """
    counts = torch.bincount(row_labels)
    place = torch.arange(len(row_labels)) - (counts.cumsum(0) - counts)[row_labels]
    return (place < count).nonzero().flatten()


def of_rows(images: Tensor, rows: Tensor, count: int) -> Tensor:
    """Return what belongs to the decoded images of some rows, of [M, ...], as many for each of `count` rows."""
    chosen: Tensor = images.unflatten(0, (count, -1))[rows]
    return chosen.flatten(0, 1)


def settings_of_head(settings: Mapping[str, Any], ipc: int, rows: int) -> dict[str, Any]:
    """Return the settings of a set for its first rows: `ipc` of each class, `rows` in all."""
    sizes = {"ipc": ipc, "pictures": ipc, "budget": rows}
    return {**settings, **{name: size for name, size in sizes.items() if settings.get(name)}}

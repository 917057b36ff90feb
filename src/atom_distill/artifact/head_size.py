"""How many of the first images of a set fit into a size."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

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

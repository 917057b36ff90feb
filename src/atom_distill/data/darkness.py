"""Sets whose images come out dark, as those of 12-bit values in 16-bit files do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DARK = 127
"""The largest value of a set of 15-bit values, which are the lightest of those that use too few of 16 bits."""
_TOGETHER = 1 << 26  # values


def largest_value(images: NDArray[np.uint8]) -> int:
    """Return the largest pixel value of a set, 0 to 255; uint8 [N, C, H, W], N >= 1."""
    values, largest = images.reshape(-1), 0
    for start in range(0, len(values), _TOGETHER):
        largest = max(largest, int(values[start : start + _TOGETHER].max()))
        if largest == 255:
            break
    return largest


def darkness(largest: int) -> str | None:
    """Return what it means that no pixel of a set is above a value, and what to do; None if the set is not dark.

    Args:
        largest: value of a pixel, 0 to 255.
    """
    if largest > _DARK:
        return None
    if largest == 0:
        return "all pixels are black"
    # 16-bit values were divided by 257 and rounded.
    bits = (257 * largest - 128).bit_length()
    return (
        f"the images are dark: no pixel is above {largest} of 255. This is harmless if they were saved in 8 bits; if "
        f"the files hold {bits}-bit values in 16 bits, multiply these by {2 ** (16 - bits)} and save them again, since "
        f"only {largest + 1} shades are left of them"
    )

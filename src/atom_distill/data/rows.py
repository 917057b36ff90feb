"""Some of many images, without a copy of them in memory."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.files import cache_root

_IN_MEMORY = 1 << 26
"""Bytes up to which a copy in memory does no harm."""
_AT_ONCE = 1 << 22
"""Bytes that are copied together."""


def take(images: Tensor, indices: Tensor) -> Tensor:
    """Give the images at some indices.

    Few are copied into memory. Many are written to a file in the cache folder that has no name, so that it is gone
    with the process, and mapped: the system keeps in memory what it has room for.

    Args:
        images: uint8 [N, C, H, W].
        indices: int64 [n].

    Returns:
        uint8 [n, C, H, W].

    Raises:
        OSError: the cache folder cannot be written, or the disk is full.
    """
    shape = (len(indices), *images.shape[1:])
    size = len(indices) * images[:1].numel()
    if size <= _IN_MEMORY:
        return images[indices]
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_root()) as file:
        file.truncate(size)
        pixels = np.memmap(file, np.uint8, "r+", shape=shape)
    together = max(1, _AT_ONCE * len(indices) // size)
    for start in range(0, len(indices), together):
        part = indices[start : start + together]
        pixels[start : start + len(part)] = images[part].numpy()
    return torch.from_numpy(pixels)

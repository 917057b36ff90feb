"""Selecting many images by index without holding a copy of them in memory."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.cache_folder import writable_cache

_IN_MEMORY = 1 << 26
"""Selections up to this size (bytes) are copied into memory."""
_AT_ONCE = 1 << 22
"""Bytes that are copied at a time."""


def take(images: Tensor, indices: Tensor) -> Tensor:
    """Return the images at some indices.

    A small selection is copied into memory. A large one is written to an unnamed file in the cache folder, which
    vanishes with the process, and memory-mapped: the system keeps in memory what it has room for.

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
    folder = writable_cache()
    folder.mkdir(parents=True, exist_ok=True)
    together = max(1, _AT_ONCE * len(indices) // size)
    with tempfile.TemporaryFile(dir=folder) as file:
        for part in indices.split(together):
            # Not through a memory map, where a full disk would kill the process.
            file.write(np.ascontiguousarray(images[part].numpy()).data)
        file.flush()
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape))

"""Randomness as a function of (seed, stream, step), never of a running generator.

A resumed run therefore equals an uninterrupted one, ranks agree without talking, any step can be replayed
alone, and adding a draw to one stream does not shift another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, stream: str, *indices: int) -> int:
    """Hash (seed, stream, indices) into a 63-bit seed; equal on every platform."""
    text = "/".join([str(seed), stream, *map(str, indices)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, stream: str, *indices: int) -> torch.Generator:
    """Return a fresh CPU generator for one use.

    It lives on the CPU on purpose: the same draw then serves every device.

    Args:
        seed: the run's seed.
        stream: what the numbers are for, e.g. "network" or "augment".
        indices: which one, e.g. the step or the repeat.
    """
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, stream, *indices))

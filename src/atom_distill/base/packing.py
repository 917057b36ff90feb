"""Tensors of integers in few bytes, without loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from atom_distill.base.coding.table import decode, encode

if TYPE_CHECKING:
    from torch import Tensor


def pack(integers: Tensor) -> bytes:
    """Return int32 [N, n] as bytes; see `encode`."""
    return encode(integers.cpu().numpy())


def unpack(packed: bytes, rows: int, columns: int) -> Tensor:
    """Return the integers that `pack` was given, int32 [rows, columns].

    Raises:
        ValueError: the bytes are not those of so many integers.
    """
    import torch

    return torch.from_numpy(decode(packed, rows, columns))


def packed_size(integers: Mapping[str, Tensor]) -> int:
    """Return the size of tensors by name, each packed as `as_table` arranges it, bytes."""
    return sum(len(pack(as_table(tensor))) for tensor in integers.values())


def as_table(tensor: Tensor) -> Tensor:
    """Return a tensor of any shape as [N, n], n its last dimension (1 where it has only one)."""
    return tensor.unsqueeze(1) if tensor.ndim == 1 else tensor.flatten(0, -2)

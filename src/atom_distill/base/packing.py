"""Integers in few bytes, without loss, by the standard library."""

from __future__ import annotations

import lzma
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_FILTERS: list[Mapping[str, int]] = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9,
        # Without contexts (lc, lp, pb) the coder adapts to the values of a column: within 15 % of their entropy.
        "lc": 0,
        "lp": 0,
        "pb": 0,
        # Few repetitions are worth looking for: runs of zeros. Searching for more takes longer, and gains nothing.
        "mf": lzma.MF_HC4,
        "depth": 1,
        "dict_size": 4096,
    }
]
_PLAIN, _LZMA = 0, 1


def pack(integers: Tensor) -> bytes:
    """Return int32 [N, n] as bytes: how they are coded, the number of byte planes, and these.

    Signs become the lowest bit (0, -1, 1, -2, ...), so that small numbers have few bits. Each plane holds one byte of
    every number, those of a column together, and is coded by LZMA2 where that makes it smaller.
    """
    columns = np.ascontiguousarray(integers.cpu().numpy().T)
    unsigned = ((columns << 1) ^ (columns >> 31)).astype(np.uint32)
    planes = max(1, (int(unsigned.max(initial=0)).bit_length() + 7) // 8)
    plain = b"".join((unsigned >> 8 * plane).astype(np.uint8).tobytes() for plane in range(planes))
    coded = lzma.compress(plain, lzma.FORMAT_RAW, filters=_FILTERS)
    return bytes([_LZMA, planes]) + coded if len(coded) < len(plain) else bytes([_PLAIN, planes]) + plain


def unpack(packed: bytes, rows: int, columns: int) -> Tensor:
    """Return the integers that `pack` was given, int32 [rows, columns].

    Raises:
        ValueError: the bytes are not those of so many integers.
    """
    import torch

    if len(packed) < 2 or packed[0] not in (_PLAIN, _LZMA):
        raise ValueError("packed values begin with how they are coded")
    try:
        plain = packed[2:] if packed[0] == _PLAIN else lzma.decompress(packed[2:], lzma.FORMAT_RAW, filters=_FILTERS)
    except lzma.LZMAError as error:
        raise ValueError(f"packed values cannot be read ({error})") from None
    if len(plain) != packed[1] * rows * columns:
        raise ValueError(f"packed values are not {rows} x {columns} numbers")
    planes = np.frombuffer(plain, np.uint8).reshape(packed[1], columns, rows).astype(np.uint32)
    unsigned = sum((plane << 8 * place for place, plane in enumerate(planes)), np.zeros((columns, rows), np.uint32))
    signed = (unsigned >> 1).astype(np.int32) ^ -(unsigned & 1).astype(np.int32)
    return torch.from_numpy(np.ascontiguousarray(signed.T))


def packed_size(integers: Mapping[str, Tensor]) -> int:
    """Return the size of tensors by name, each packed as `as_table` arranges it, bytes."""
    return sum(len(pack(as_table(tensor))) for tensor in integers.values())


def as_table(tensor: Tensor) -> Tensor:
    """Return a tensor of any shape as [N, n], n its last dimension (1 where it has only one)."""
    return tensor.unsqueeze(1) if tensor.ndim == 1 else tensor.flatten(0, -2)

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
_MOST_PLANES = 4
"""Bytes of a number."""
_MANY = 10_000_000
"""Zeros that are packed in a moment."""


def pack(integers: Tensor) -> bytes:
    """Return int32 [N, n] as bytes: the number of byte planes, and each as a raw LZMA2 stream.

    Signs become the lowest bit (0, -1, 1, -2, ...), so that small numbers have few bits. Each plane holds one byte of
    every number, the lowest first, those of a column together. LZMA2 stores as it is what it cannot make smaller.
    """
    columns = np.ascontiguousarray(integers.cpu().numpy().T)
    unsigned = ((columns << 1) ^ (columns >> 31)).astype(np.uint32)
    planes = max(1, (int(unsigned.max(initial=0)).bit_length() + 7) // 8)
    contents = [(unsigned >> 8 * plane).astype(np.uint8).tobytes() for plane in range(planes)]
    return bytes([planes]) + b"".join(lzma.compress(each, lzma.FORMAT_RAW, filters=_FILTERS) for each in contents)


def unpack(packed: bytes, rows: int, columns: int) -> Tensor:
    """Return the integers that `pack` was given, int32 [rows, columns].

    Raises:
        ValueError: the bytes are not those of so many integers.
    """
    import torch

    if not packed or not 1 <= packed[0] <= _MOST_PLANES:
        raise ValueError("packed values do not begin with their number of byte planes")
    size, rest = rows * columns, packed[1:]
    unsigned = np.zeros(size, np.uint32)
    try:
        for plane in range(packed[0]):
            stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
            content, rest = stream.decompress(rest, size + 1), stream.unused_data
            if not stream.eof or len(content) != size:
                raise ValueError(f"byte plane {plane} has another size")
            unsigned |= np.frombuffer(content, np.uint8).astype(np.uint32) << (8 * plane)
        if rest:
            raise ValueError(f"{len(rest)} bytes follow the last byte plane")
    except (lzma.LZMAError, ValueError, EOFError) as error:
        raise ValueError(f"packed values are not {rows} x {columns} numbers ({error})") from None
    signed = (unsigned >> 1).astype(np.int32) ^ -(unsigned & 1).astype(np.int32)
    return torch.from_numpy(np.ascontiguousarray(signed.reshape(columns, rows).T))


def packed_size(integers: Mapping[str, Tensor]) -> int:
    """Return the size of tensors by name, each packed as `as_table` arranges it, bytes."""
    return sum(len(pack(as_table(tensor))) for tensor in integers.values())


def packed_size_of_zeros(count: int) -> int:
    """Return the size of so many zeros when packed, bytes; of more than ten million, a lower bound."""
    return 1 + len(lzma.compress(bytes(min(count, _MANY)), lzma.FORMAT_RAW, filters=_FILTERS))


def as_table(tensor: Tensor) -> Tensor:
    """Return a tensor of any shape as [N, n], n its last dimension (1 where it has only one)."""
    return tensor.unsqueeze(1) if tensor.ndim == 1 else tensor.flatten(0, -2)

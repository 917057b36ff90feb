"""Integers as symbols, and the bits that these leave open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.uint8]

MOST_SYMBOLS = 37
"""Symbols of sizes up to 2 ** 31."""
_EXACT = 8
"""Sizes below this are symbols of their own; each later symbol stands for all sizes of as many bits."""
_BLOCK = 1 << 20
"""Values whose bits are handled at once: each takes some 50 bytes meanwhile."""


def symbols_of(values: NDArray[np.int32]) -> Symbols:
    """Return the symbols of values: their sizes up to 7, then 8 for sizes of 4 bits, 9 for those of 5, ..."""
    symbols: Symbols = np.abs(values.clip(-_EXACT, _EXACT)).astype(np.uint8)
    large = symbols == _EXACT
    symbols[large] = np.frexp(np.abs(values[large].astype(np.float64)))[1] + 4
    return symbols


def open_bits(values: NDArray[np.int32], symbols: Symbols) -> NDArray[np.uint8]:
    """Return the bits that symbols leave open of values other than zero, packed.

    They are, for each value, the bits of its size below the highest one, if it is not below 8, and the sign.
    """
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(symbols), _BLOCK)]
    bits = [_bits_of(values[block].astype(np.int64), symbols[block]) for block in blocks]
    return np.packbits(np.concatenate([np.zeros(0, np.uint8), *bits]))


def with_open_bits(symbols: Symbols, packed: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return values, given their symbols, none of them 0, and what `open_bits` returned.

    Raises:
        ValueError: these bits are not those of so many values, or a value is too large.
    """
    ends = _widths(symbols).cumsum()
    count = int(ends[-1]) if len(ends) else 0
    bits = np.unpackbits(packed)
    if len(packed) != (count + 7) // 8 or bits[count:].any():
        raise ValueError("their signs are damaged")
    values = np.empty(len(symbols), np.int32)
    for start in range(0, len(symbols), _BLOCK):
        block = slice(start, start + _BLOCK)
        first = int(ends[start - 1]) if start else 0
        read = _from_bits(bits[first:], symbols[block])
        values[block] = read
        if (values[block] != read).any():
            raise ValueError("one of them is too large")
    return values


def _widths(symbols: Symbols) -> NDArray[np.int64]:
    """Return how many bits symbols other than 0 leave open."""
    return np.where(symbols < _EXACT, 1, symbols.astype(np.int64) - 4)


def _bits_of(values: NDArray[np.int64], symbols: Symbols) -> NDArray[np.uint8]:
    widths = _widths(symbols)
    firsts = widths.cumsum() - widths
    lower = np.where(symbols < _EXACT, 0, np.abs(values) - _smallest(symbols))
    numbers, bits = 2 * lower + (values < 0), np.zeros(int(widths.sum()), np.uint8)
    for place in range(int(widths.max(initial=0))):
        wide = widths > place
        bits[firsts[wide] + place] = (numbers[wide] >> (widths[wide] - 1 - place)) & 1
    return bits


def _from_bits(bits: NDArray[np.uint8], symbols: Symbols) -> NDArray[np.int64]:
    widths = _widths(symbols)
    firsts, numbers = widths.cumsum() - widths, np.zeros(len(symbols), np.int64)
    for place in range(int(widths.max(initial=0))):
        wide = widths > place
        numbers[wide] = 2 * numbers[wide] + bits[firsts[wide] + place]
    sizes = np.where(symbols < _EXACT, symbols, _smallest(symbols) + (numbers >> 1))
    return np.where(numbers & 1, -sizes, sizes)


def _smallest(symbols: Symbols) -> NDArray[np.int64]:
    """Return the smallest size with a symbol from 8 up (1 for others)."""
    return 1 << np.maximum(symbols.astype(np.int64) - 5, 0)

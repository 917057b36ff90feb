"""Integers as symbols, and the bits that these leave open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.coding.adaptive import Integers

Symbols = NDArray[np.uint8]

MOST_SYMBOLS = 37
"""Symbols of sizes up to 2 ** 31."""
_EXACT = 8
"""Sizes below this are symbols of their own; each later symbol stands for all sizes of as many bits."""


def symbols_of(values: NDArray[np.int32]) -> Symbols:
    """Return the symbols of values: their sizes up to 7, then 8 for sizes of 4 bits, 9 for those of 5, ..."""
    symbols: Symbols = np.abs(values.clip(-_EXACT, _EXACT)).astype(np.uint8)
    large = symbols == _EXACT
    symbols[large] = np.frexp(np.abs(values[large].astype(np.float64)))[1] + 4
    return symbols


def _open_widths(symbols: Symbols) -> Integers:
    """Return how many bits symbols other than 0 leave open: the sign, and those of the size below its highest one."""
    return np.where(symbols < _EXACT, 1, symbols.astype(np.int64) - 4)


def open_bits(values: NDArray[np.int32], symbols: Symbols) -> NDArray[np.uint8]:
    """Return the bits that symbols leave open of values other than zero, packed."""
    widths = _open_widths(symbols)
    firsts = widths.cumsum() - widths
    lower = np.where(symbols < _EXACT, 0, np.abs(values.astype(np.int64)) - _smallest(symbols))
    numbers, bits = 2 * lower + (values < 0), np.zeros(int(widths.sum()), np.uint8)
    for place in range(int(widths.max(initial=0))):
        wide = widths > place
        bits[firsts[wide] + place] = (numbers[wide] >> (widths[wide] - 1 - place)) & 1
    return np.packbits(bits)


def with_open_bits(symbols: Symbols, packed: NDArray[np.uint8]) -> Integers:
    """Return values, given their symbols, none of them 0, and what `open_bits` returned."""
    widths = _open_widths(symbols)
    if len(packed) != (int(widths.sum()) + 7) // 8:
        raise ValueError("they have signs for other numbers")
    firsts, bits, numbers = widths.cumsum() - widths, np.unpackbits(packed), np.zeros(len(symbols), np.int64)
    for place in range(int(widths.max(initial=0))):
        wide = widths > place
        numbers[wide] = 2 * numbers[wide] + bits[firsts[wide] + place]
    sizes = np.where(symbols < _EXACT, symbols, _smallest(symbols) + (numbers >> 1))
    return np.where(numbers & 1, -sizes, sizes)


def _smallest(symbols: Symbols) -> Integers:
    """Return the smallest size with a symbol from 8 up (1 for others)."""
    return 1 << np.maximum(symbols.astype(np.int64) - 5, 0)

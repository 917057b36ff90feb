"""A table of integers as bytes, and back."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.coding.adaptive import LEVELS, Adaptive, Integers, coding_order, column_levels
from atom_distill.base.coding.rans import Stack, push
from atom_distill.base.coding.symbols import MOST_SYMBOLS, Symbols, open_bits, symbols_of, with_open_bits

_HEAD = struct.Struct("<BHII")
_FILTERS: list[Mapping[str, int]] = [
    {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 16}
]


def encode(table: NDArray[np.int32]) -> bytes:
    """Return a table of integers, int32 [N, n], as bytes.

    They hold, little-endian: the number of symbols (1 byte), of lanes (2), of bytes of the next part (4) and of words
    (4); the levels of the columns (LZMA2); the states of the lanes (4 bytes each) and the words (2 each); and bit by
    bit what the symbols leave open: the lower bits of sizes from 8 up, and signs.
    """
    columns = np.ascontiguousarray(table.T)
    symbols = symbols_of(columns)
    levels = column_levels(symbols)
    order = coding_order(levels)
    columns, symbols = columns[order], symbols[order]
    used = symbols > 0
    states, words = push(*_intervals(symbols, levels[order]), _lanes(symbols))
    packed_levels = lzma.compress(levels.astype(np.uint8).tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)
    head = _HEAD.pack(_count_symbols(symbols), len(states), len(packed_levels), len(words))
    coded = states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
    return head + packed_levels + coded + open_bits(columns[used], symbols[used]).tobytes()


def decode(content: bytes, rows: int, columns: int) -> NDArray[np.int32]:
    """Return the table that `encode` was given, int32 [rows, columns].

    Raises:
        ValueError: the bytes are not those of such a table.
    """
    try:
        return _decoded(content, rows, columns)
    except (lzma.LZMAError, struct.error, ValueError, MemoryError) as error:
        raise ValueError(f"packed values are not {rows} x {columns} numbers ({error})") from None


def _decoded(content: bytes, rows: int, columns: int) -> NDArray[np.int32]:
    count, lanes, size, words = _HEAD.unpack_from(content)
    if not 1 <= count <= MOST_SYMBOLS or lanes < 1:
        raise ValueError(f"{count} symbols in {lanes} lanes")
    packed_levels, states, pushed, left_open = _parts(content[_HEAD.size :], (size, 4 * lanes, 2 * words))
    levels = _unpacked_levels(packed_levels, columns)
    order = coding_order(levels)
    if (count == 1) != (len(order) == 0):
        raise ValueError(f"{count} symbols in {len(order)} columns")
    model, symbols = Adaptive(rows, count), np.empty((len(order), rows), np.uint8)
    stack = Stack(np.frombuffer(states, "<u4").astype(np.int64), np.frombuffer(pushed, "<u2"))
    for place, level in enumerate(levels[order].tolist()):
        row_levels, frequencies, starts = model.intervals(level)
        popped = stack.pop(row_levels, frequencies, starts)
        symbols[place] = popped
        model.see(level, row_levels, popped)
    stack.require_empty()
    if _count_symbols(symbols) != count:
        raise ValueError(f"none of them has the last of {count} symbols")
    used, ordered = symbols > 0, np.zeros(symbols.shape, np.int32)
    ordered[used] = with_open_bits(symbols[used], np.frombuffer(left_open, np.uint8))
    table = np.zeros((rows, columns), np.int32)
    table[:, order] = ordered.T
    return table


def _parts(content: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    """Return parts of so many bytes, and what is left."""
    ends = np.cumsum((0, *sizes)).tolist()
    if ends[-1] > len(content):
        raise ValueError("they end too early")
    return [content[start:end] for start, end in zip(ends, [*ends[1:], len(content)], strict=True)]


def _unpacked_levels(packed: bytes, columns: int) -> Integers:
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    levels = np.frombuffer(stream.decompress(packed, columns + 1), np.uint8).astype(np.int64)
    if len(levels) != columns or not stream.eof or stream.unused_data or levels.max(initial=0) >= LEVELS:
        raise ValueError("the levels of the columns are damaged")
    return levels


def _intervals(symbols: Symbols, levels: Integers) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the frequency of each symbol where it stands, and the sum of those before it, [n, N] each."""
    model = Adaptive(symbols.shape[1], _count_symbols(symbols))
    frequencies, starts = np.empty(symbols.shape, np.uint16), np.empty(symbols.shape, np.uint16)
    for place, level in enumerate(levels.tolist()):
        column = symbols[place].astype(np.int64)
        rows, of_symbols, before = model.intervals(level)
        at = rows * of_symbols.shape[1] + column
        frequencies[place], starts[place] = of_symbols.ravel()[at], before.ravel()[at]
        model.see(level, rows, column)
    return frequencies, starts


def _count_symbols(symbols: Symbols) -> int:
    return int(symbols.max(initial=0)) + 1


def _lanes(symbols: Symbols) -> int:
    """Return how many rows are coded at once: a lane takes two bytes or so, and saves time."""
    rows = max(int(symbols.shape[1]), 1)
    return min(1 + max(int(np.count_nonzero(symbols)) >> 10, int(symbols.size) >> 18), 1024, rows)

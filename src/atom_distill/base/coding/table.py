"""A table of integers as bytes, and back."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.coding.adaptive import CLASSES, Adaptive, Integers, coding_order, column_classes
from atom_distill.base.coding.rans import Pop, push
from atom_distill.base.coding.symbols import MOST_SYMBOLS, Symbols, open_bits, symbols_of, with_open_bits

_VALUES_PER_STATE = 1024
"""Values other than zero for each state of the coder: more states are faster, but take two bytes each."""
_MOST_STATES = 1024
_HEAD = struct.Struct("<BHHI")
_FILTERS: list[Mapping[str, int]] = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}]


def encode(table: NDArray[np.int32]) -> bytes:
    """Return a table of integers, int32 [N, n], as bytes.

    They hold, little-endian: the number of symbols (1 byte) and of states (2), the bytes of the next part (2), the
    number of words (4); the classes of the columns (LZMA2); the states of the coder (4 bytes each) and its words
    (2 each); and bit by bit what the symbols leave open: the lower bits of sizes from 8 up, and signs.
    """
    columns = np.ascontiguousarray(table.T)
    symbols = symbols_of(columns)
    classes = column_classes(symbols)
    order = coding_order(classes)
    columns, symbols = columns[order], symbols[order]
    count = min(_MOST_STATES, 1 + int(np.count_nonzero(symbols)) // _VALUES_PER_STATE)
    states, words = push(*_intervals(symbols, classes[order]), count)
    packed_classes = lzma.compress(classes.astype(np.uint8).tobytes(), lzma.FORMAT_RAW, filters=_FILTERS)
    head = _HEAD.pack(_count_symbols(symbols), count, len(packed_classes), len(words))
    coded = states.astype("<u4").tobytes() + words.astype("<u2").tobytes()
    return head + packed_classes + coded + open_bits(columns[symbols > 0], symbols[symbols > 0]).tobytes()


def decode(content: bytes, rows: int, columns: int) -> NDArray[np.int32]:
    """Return the table that `encode` was given, int32 [rows, columns].

    Raises:
        ValueError: the bytes are not those of such a table.
    """
    try:
        return _decoded(content, rows, columns)
    except (lzma.LZMAError, struct.error, ValueError) as error:
        raise ValueError(f"packed values are not {rows} x {columns} numbers ({error})") from None


def _decoded(content: bytes, rows: int, columns: int) -> NDArray[np.int32]:
    count_symbols, count, size, words = _HEAD.unpack_from(content)
    if not (1 <= count_symbols <= MOST_SYMBOLS and 1 <= count <= _MOST_STATES):
        raise ValueError(f"{count_symbols} symbols and {count} states")
    packed_classes, states, pushed, left_open = _parts(content[_HEAD.size :], (size, 4 * count, 2 * words))
    classes = _read_classes(packed_classes, columns)
    order = coding_order(classes)
    model, symbols = Adaptive(rows, count_symbols), np.empty((len(order), rows), np.uint8)
    pop = Pop(np.frombuffer(states, "<u4").astype(np.int64), np.frombuffer(pushed, "<u2"))
    for place, column_class in enumerate(classes[order].tolist()):
        row_classes, frequencies, starts = model.table(column_class)
        popped = pop(row_classes, frequencies, starts)
        symbols[place] = popped
        model.see(column_class, row_classes, popped)
    pop.require_end()
    if _count_symbols(symbols) != count_symbols:
        raise ValueError(f"none of them has the last of {count_symbols} symbols")
    used = symbols > 0
    ordered, table = np.zeros(symbols.shape, np.int32), np.zeros((rows, columns), np.int32)
    ordered[used] = with_open_bits(symbols[used], np.frombuffer(left_open, np.uint8))
    table[:, order] = ordered.T
    return table


def _parts(content: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    """Return parts of so many bytes, and what is left."""
    ends = np.cumsum((0, *sizes)).tolist()
    if ends[-1] > len(content):
        raise ValueError("they end too early")
    return [content[start:end] for start, end in zip(ends, [*ends[1:], len(content)], strict=True)]


def _read_classes(content: bytes, columns: int) -> Integers:
    stream = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    classes = np.frombuffer(stream.decompress(content, columns + 1), np.uint8).astype(np.int64)
    if len(classes) != columns or not stream.eof or stream.unused_data or classes.max(initial=0) >= CLASSES:
        raise ValueError("the classes of the columns are damaged")
    return classes


def _intervals(symbols: Symbols, classes: Integers) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the frequency of each symbol where it stands, and the sum of those before it, [n, N] each."""
    model = Adaptive(symbols.shape[1], _count_symbols(symbols))
    frequencies, starts = np.empty(symbols.shape, np.uint16), np.empty(symbols.shape, np.uint16)
    for place, column_class in enumerate(classes.tolist()):
        column = symbols[place].astype(np.int64)
        rows, of_symbols, before = model.table(column_class)
        at = rows * of_symbols.shape[1] + column
        frequencies[place], starts[place] = of_symbols.ravel()[at], before.ravel()[at]
        model.see(column_class, rows, column)
    return frequencies, starts


def _count_symbols(symbols: Symbols) -> int:
    return int(symbols.max(initial=0)) + 1

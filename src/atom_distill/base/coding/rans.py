"""Symbols as numbers: asymmetric numeral systems with several states that take turns (interleaved rANS).

J. Duda, "Asymmetric numeral systems", arXiv 1311.2540.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.coding.adaptive import BITS, Integers

_LOWEST = 1 << 16
"""States are at least this, and below 2 ** 32: they give and take words of 16 bits."""


def push(
    frequencies: NDArray[np.uint16], starts: NDArray[np.uint16], lanes: int
) -> tuple[Integers, NDArray[np.uint16]]:
    """Return the states of so many lanes, and the words, that hold symbols with these intervals [n, N].

    They are a stack, from which the last symbol that was pushed comes first. So the last column is pushed first.
    """
    states, words = np.full(lanes, _LOWEST, np.int64), [np.zeros(0, np.uint16)]
    chunks = [*_chunks(frequencies.shape[1], lanes)][::-1]
    for column_frequencies, column_starts in zip(frequencies[::-1], starts[::-1], strict=True):
        for chunk in chunks:
            frequency = column_frequencies[chunk].astype(np.int64)
            state = states[: len(frequency)]
            full = state >= frequency << (32 - BITS)
            words.append(state[full].astype(np.uint16))  # its lower 16 bits
            quotient, remainder = np.divmod(np.where(full, state >> 16, state), frequency)
            states[: len(frequency)] = (quotient << BITS) + remainder + column_starts[chunk]
    return states, np.concatenate(words[::-1])


class Stack:
    """What `push` returned, from which the symbols are taken column by column."""

    def __init__(self, states: Integers, words: NDArray[np.uint16]) -> None:
        self._states, self._words, self._place = states, words, 0

    def pop(self, rows: Integers, frequencies: Integers, starts: Integers) -> Integers:
        """Return the symbols of the next column [N], given what `Adaptive.intervals` returns for it.

        Raises:
            ValueError: the words end too early.
        """
        symbols = np.empty(len(rows), np.int64)
        for chunk in _chunks(len(rows), len(self._states)):
            levels = rows[chunk]
            states = self._states[: len(levels)]
            slots = states & ((1 << BITS) - 1)
            found = (slots[:, None] >= starts[levels, 1:]).sum(1)
            states = frequencies[levels, found] * (states >> BITS) + slots - starts[levels, found]
            empty = np.flatnonzero(states < _LOWEST)
            end = self._place + len(empty)
            if end > len(self._words):
                raise ValueError("their words end too early")
            states[empty] = (states[empty] << 16) | self._words[self._place : end]
            self._place, self._states[: len(levels)], symbols[chunk] = end, states, found
        return symbols

    def require_empty(self) -> None:
        """Raise ValueError unless states and words are those before a symbol was pushed."""
        if self._place != len(self._words) or (self._states != _LOWEST).any():
            raise ValueError("their words are damaged")


def _chunks(rows: int, lanes: int) -> Iterator[slice]:
    """Yield the rows of a column whose symbols are coded at once, one in each lane."""
    for start in range(0, rows, lanes):
        yield slice(start, min(start + lanes, rows))

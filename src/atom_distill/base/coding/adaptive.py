"""How probable the symbols of the next column are, given the columns before it.

How large the next symbol of a row will be is expected from the columns before it in the same row, and from the mean of
its own column, which a file states. Both have a level, which doubles in size from one to the next, and the symbols that
were seen in columns and rows of these levels are counted.

Everything is computed in integers, or in float64 by operations that IEEE 754 rounds exactly, so that all machines have
the same probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

BITS = 14
"""The frequencies of all symbols add up to 2 ** 14."""
LEVELS = 16
"""Of columns and of rows."""
_FIRST = 256
"""The symbol that is expected in a row before its first column, in units of 1/256, as all of them are."""
_SEEN = 24
"""Added to the count of a symbol each time it is seen; the first counts of all symbols add up to about 64."""


class Adaptive:
    """The probabilities of the symbols in the next column, given the columns before it.

    Args:
        rows: of the table.
        symbols: how many there are.
    """

    def __init__(self, rows: int, symbols: int) -> None:
        self._symbols = symbols
        self._expected = np.full(rows, _FIRST, np.int64)
        # Before anything is seen: a geometric distribution whose mean is between those of the column and of the row.
        levels = np.arange(LEVELS)
        mean = np.sqrt(np.ldexp(1.0, levels[:, None] + levels - 17))[..., None]
        ratios = np.repeat(mean / (1 + mean), symbols, axis=2)
        ratios[..., 0] = 1 / (1 + mean[..., 0])
        self._counts = np.floor(64 * ratios.cumprod(axis=2)).astype(np.int64) + 1

    def intervals(self, column: int) -> tuple[Integers, Integers, Integers]:
        """Return the level of each row [N] in the next column, and where symbols are in the range of 2 ** 14 numbers.

        Args:
            column: its level.

        Returns:
            The levels of the rows; by level, the frequency of each symbol [16, K], and the sum of those before it.
        """
        rows = np.searchsorted(1 << np.arange(LEVELS - 1), self._expected, side="right")
        counts = self._counts[column]
        frequencies = counts * ((1 << BITS) - self._symbols) // counts.sum(1, keepdims=True) + 1
        frequencies[:, 0] += (1 << BITS) - frequencies.sum(1)
        return rows, frequencies, frequencies.cumsum(1) - frequencies

    def see(self, column: int, rows: Integers, symbols: Integers) -> None:
        """Adapt to the symbols [N] of a column of this level, in rows of these levels."""
        seen = np.bincount(rows * self._symbols + symbols, minlength=LEVELS * self._symbols)
        self._counts[column] += _SEEN * seen.reshape(LEVELS, -1)
        self._expected += ((symbols << 8) - self._expected) >> 4


def column_levels(symbols: NDArray[np.uint8]) -> Integers:
    """Return the levels of columns [n], given their symbols [n, N].

    A column of zeros has level 0, another one the bit length of 1 + 256 times its mean symbol (rounded down).
    """
    means = 256 * symbols.sum(1, dtype=np.int64) // max(symbols.shape[1], 1)
    return np.where(symbols.any(1), np.frexp(means + 1.0)[1], 0).astype(np.int64)


def coding_order(levels: Integers) -> Integers:
    """Return the columns that are not all zeros, the largest first: they say most about the others of a row."""
    order = np.argsort(-levels, kind="stable")
    return order[levels[order] > 0]

"""How probable the symbols of the next column are, given the columns before it.

How large the next symbol of a row will be is expected from the columns before it in the same row, and from the mean of
its own column, which a file states. Both have a class, which doubles in size from one to the next, and the symbols that
were seen in columns and rows of these classes are counted.

Everything is computed in integers, or in float64 by operations that IEEE 754 rounds exactly, so that all machines have
the same probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

BITS = 14
"""The frequencies of all symbols add up to 2 ** 14."""
CLASSES = 16
"""Of columns and of rows."""
_FIRST = 256
"""The symbol that is expected in a row before its first column, in units of 1/256, as all of them are."""
_SEEN = 24
"""What a symbol counts that was seen; about 64 are there from the start."""


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
        classes = np.arange(CLASSES)
        mean = np.sqrt(np.ldexp(1.0, classes[:, None] + classes - 17))[..., None]
        ratios = np.repeat(mean / (1 + mean), symbols, axis=2)
        ratios[..., 0] = 1 / (1 + mean[..., 0])
        self._counts = np.floor(64 * ratios.cumprod(axis=2)).astype(np.int64) + 1

    def table(self, column: int) -> tuple[Integers, Integers, Integers]:
        """Return what the symbols of a column have.

        Args:
            column: its class.

        Returns:
            The class of each row [N]; by that class, the frequencies of all symbols [16, K], and for each symbol the
            sum of the frequencies before it.
        """
        rows = np.searchsorted(1 << np.arange(CLASSES - 1), self._expected, side="right")
        counts = self._counts[column]
        frequencies = counts * ((1 << BITS) - self._symbols) // counts.sum(1, keepdims=True) + 1
        frequencies[:, 0] += (1 << BITS) - frequencies.sum(1)
        return rows, frequencies, frequencies.cumsum(1) - frequencies

    def see(self, column: int, rows: Integers, symbols: Integers) -> None:
        """Adapt to the symbols [N] of a column of this class."""
        seen = np.bincount(rows * self._symbols + symbols, minlength=CLASSES * self._symbols)
        self._counts[column] += _SEEN * seen.reshape(CLASSES, -1)
        self._expected += ((symbols << 8) - self._expected) >> 4


def column_classes(symbols: NDArray[np.uint8]) -> Integers:
    """Return the classes of columns [n], given their symbols [n, N]: 0 for a column of zeros.

    Others have the number of bits of 256 times their mean symbol and 1.
    """
    means = 256 * symbols.sum(1, dtype=np.int64) // max(symbols.shape[1], 1)
    return np.where(symbols.any(1), np.frexp(means + 1.0)[1], 0).astype(np.int64)


def coding_order(classes: Integers) -> Integers:
    """Return the columns that are not all zeros, the largest first: they say most about the others of a row."""
    order = np.argsort(-classes, kind="stable")
    return order[classes[order] > 0]

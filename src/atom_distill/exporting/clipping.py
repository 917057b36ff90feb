"""How much pictures lose of a set: the inverse transform gives values outside the range of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

from atom_distill.artifact.distilled import DistilledDataset

_ROUNDING = 0.5 / 255
"""Largest change of an intensity by rounding to a whole pixel value."""

_SHOWN = 0.001
"""Smallest share that is shown as a number."""


@dataclass(frozen=True)
class Clipping:
    """How much of a set does not fit into pictures.

    Attributes:
        share: of the values that are outside the range of a pixel by more than rounding, 0..1.
        low: the smallest intensity; 0 is black.
        high: the largest intensity; 1 is white.
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.share == 0:
            return "every value fits into the range of a pixel, and is rounded by at most 1/510."
        share = f"{100 * self.share:.1f}" if self.share >= _SHOWN else f"less than {100 * _SHOWN}"
        return (
            f"{share} % of the values lie outside the range of a pixel and are clipped (they range from "
            f"{self.low:.2f} to {self.high:.2f}; 0 is black, 1 is white)."
        )


def clipping_of(distilled: DistilledDataset) -> Clipping:
    """Return how much the pictures of a set lose."""
    intensities = distilled.preprocessing.invert(distilled.images)
    outside = (intensities < -_ROUNDING) | (intensities > 1 + _ROUNDING)
    return Clipping(float(outside.float().mean()), float(intensities.min()), float(intensities.max()))

"""What pictures cannot hold of a set: the inverse transform leads outside the range of a pixel."""

from __future__ import annotations

from dataclasses import dataclass

from atom_distill.artifact.distilled import DistilledDataset

_HALF_A_STEP = 0.5 / 255
"""How far rounding to a whole pixel value moves an intensity at most."""


@dataclass(frozen=True)
class Clipping:
    """What does not fit into pictures.

    Attributes:
        share: of all values, those outside the range of a pixel by more than rounding.
        low: the smallest intensity; 0 is black.
        high: the largest; 1 is white.
    """

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.share == 0:
            return "every value fits into the range of a pixel, and is rounded by at most 1/510."
        return (
            f"{100 * self.share:.1f} % of the values lie outside the range of a pixel (they run from {self.low:.2f} to "
            f"{self.high:.2f}, where 0 is black and 1 white) and are clipped."
        )


def clipping_of(distilled: DistilledDataset) -> Clipping:
    """Measure what the pictures of a set lose."""
    intensities = distilled.preprocessing.invert(distilled.images)
    outside = (intensities < -_HALF_A_STEP) | (intensities > 1 + _HALF_A_STEP)
    return Clipping(float(outside.float().mean()), float(intensities.min()), float(intensities.max()))

"""Check of whether imported images look like images of the model space they are said to be in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from atom_distill.ops.preprocessing import Preprocessing

# Standard deviations of intensities, measured on CIFAR-10. Sets distilled under ZCA have up to 2.0, normalized images
# taken for whitened ones 4 or more.
_LARGE_STD = 3.0
# Real images have 0.24, whitened images taken for normalized ones 0.07, plain intensities 0.06.
_SMALL_STD = 0.1
_MANY_OUTSIDE = 0.01
_TOLERANCE = 0.01
_FEW_OUTSIDE = 0.001
_WIDE_STD = 0.35
"""Photographs in -1..1 have about 0.5. Noise has a larger share outside if it has this deviation."""
_LOW_CONTRAST = 0.9
"""Range of intensities; that of real images is 1."""
_DARK_MEAN = 3.0
_BRIGHT = 50.0
"""Pixels of digits on black have a mean of 33 (MNIST); some in every set are far brighter."""
_STEP = 0.05
"""IDC and NCFM clip to 0..1 before each step of size 0.005 or 0.01, and not after the last one."""


def space_mismatch(images: Tensor, preprocessing: Preprocessing, others: Mapping[str, Preprocessing]) -> str | None:
    """Return why images are probably not in the model space of a transform; None if nothing speaks against it.

    Images that were initialized with real ones are within [0, 1] after the right inverse, and vary as photographs do.
    Distillation moves them away from there, so this can be a warning only.

    Args:
        images: float [N, C, H, W], as imported.
        preprocessing: the transform to check.
        others: transforms that may be the right one instead, by name.
    """
    name, intensities = preprocessing.kind, preprocessing.invert(images)
    std, mean = float(intensities.std()), float(intensities.mean())
    low, high = float(intensities.min()), float(intensities.max())
    if name != "zca" and high - low < _LOW_CONTRAST and _fill_minus_one_to_one(images):
        return (
            f"the values lie in -1..1, as after a normalization with mean 0.5 and std 0.5; the inverse of {name} turns "
            f"them into {low:.2f} to {high:.2f}, of too low contrast: if so, save (images + 1) / 2 and give "
            '`preprocess="none"`'
        )
    if _share_outside(intensities) > _MANY_OUTSIDE:
        for other, transform in others.items():
            inverted = transform.invert(images)
            if _share_outside(inverted) == 0 and float(inverted.std()) > _SMALL_STD:
                return (
                    f"{100 * _share_outside(intensities):.0f} % of the values are outside 0..1 after the inverse of "
                    f"{name}, and none after that of {other}: is {other} the right `preprocess`?"
                )
    problem = None
    if std > _LARGE_STD:
        problem = f"most intensities range from {mean - 2 * std:.1f} to {mean + 2 * std:.1f}, far outside 0..1"
    elif std < _SMALL_STD:
        problem = f"the images are nearly flat (standard deviation {std:.2f})"
    if problem is None:
        return None
    return f"after the inverse of {name} {problem}: probably another `preprocess` is right; look at grid.png"


def _fill_minus_one_to_one(images: Tensor) -> bool:
    """Return True if nearly all values lie in -1..1, and vary there as those of photographs do.

    Of normalized photographs, and of noise of deviation 1, a third lies outside; noise of a smaller one is narrower.
    """
    return _share_outside((images + 1) / 2, _STEP) <= _FEW_OUTSIDE and float(images.std()) > _WIDE_STD


def are_pixel_values(images: Tensor) -> bool:
    """Return True if float images look like pixels in 0..255; images in a model space are centered at 0."""
    bright = float(images.mean()) > _DARK_MEAN and float(images.max()) > _BRIGHT
    return bright and _share_outside(images / 255) <= _MANY_OUTSIDE


def share_of_intensities(images: Tensor) -> float:
    """Return the share of the values that lie in 0..1, or as near to it as a last step of an optimizer leads.

    Images in a model space are centered, so that it is about two thirds at most.
    """
    return 1 - _share_outside(images, _STEP)


def _share_outside(intensities: Tensor, tolerance: float = _TOLERANCE) -> float:
    return float(((intensities < -tolerance) | (intensities > 1 + tolerance)).float().mean())

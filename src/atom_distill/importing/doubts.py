"""Whether imported images look as if they lived in the space that they are said to live in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from atom_distill.ops.preprocessing import Preprocessing

# On CIFAR-10: sets distilled under ZCA spread by up to 2.0, normalized images taken for whitened ones by 4 or more.
_FAR = 3.0
# Real images spread by 0.24; whitened ones taken for normalized by 0.07, and plain intensities by 0.06.
_FLAT = 0.1
_SOME = 0.01
_EDGE = 0.01


def doubt(images: Tensor, preprocessing: Preprocessing, others: Mapping[str, Preprocessing]) -> str | None:
    """Say what speaks against a transform, or nothing.

    Images that began as real ones lie within [0, 1] once they are inverted rightly, and spread as photographs do.
    Distillation moves them away from there, so these are doubts and not errors.

    Args:
        images: float [N, C, H, W], as imported.
        preprocessing: which they are said to live in.
        others: by name, that they may live in instead.
    """
    name, intensities = preprocessing.kind, preprocessing.invert(images)
    spread, middle = float(intensities.std()), float(intensities.mean())
    if _outside(images) == 0:
        return (
            "all values lie in 0..1: they look like plain intensities, and not like images in model space; pixels are "
            "imported from uint8 tensors or class folders of PNGs"
        )
    if _outside(intensities) > _SOME:
        for other, transform in others.items():
            back = transform.invert(images)
            if _outside(back) == 0 and float(back.std()) > _FLAT:
                return (
                    f"{100 * _outside(intensities):.0f} % of the values leave 0..1 through the inverse of {name}, "
                    f"and none through that of {other}: was it --preprocess {other}?"
                )
    if spread > _FAR:
        low, high = middle - 2 * spread, middle + 2 * spread
        return (
            f"through the inverse of {name} most intensities run from {low:.1f} to {high:.1f}, far outside 0..1: "
            "the images were probably made in another space; see grid.png and --preprocess"
        )
    if spread < _FLAT:
        return (
            f"through the inverse of {name} the images are nearly flat (deviation {spread:.2f}): "
            "they were probably made in another space, e.g. whitened; see grid.png and --preprocess"
        )
    return None


def _outside(intensities: Tensor) -> float:
    return float(((intensities < -_EDGE) | (intensities > 1 + _EDGE)).float().mean())

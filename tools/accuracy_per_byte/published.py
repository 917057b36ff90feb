"""Published accuracies of sets with few bytes a class: what is stored, and how the sets were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atom_distill.reproduce.published_accuracies import PUBLISHED

IMAGES = (1, 10, 50)
"""Images per class of the published sets, counted as the papers do."""
CLASSES: Mapping[str, int] = {"cifar10": 10, "cifar100": 100, "tiny-imagenet": 200}
"""The data sets of these papers, and how many classes they have."""
_NONE: tuple[None, None, None] = (None, None, None)


@dataclass(frozen=True)
class PublishedMethod:
    """The figures of a paper.

    Attributes:
        name: of the method.
        accuracies: percent at each of `IMAGES`, by data set; None where the paper has none.
        stored: what a set consists of.
        judged: how the figures were obtained.
    """

    name: str
    accuracies: Mapping[str, Sequence[float | None]]
    stored: str
    judged: str


def _by_set(
    cifar10: Sequence[float | None], cifar100: Sequence[float | None] = _NONE, tiny: Sequence[float | None] = _NONE
) -> Mapping[str, Sequence[float | None]]:
    return {"cifar10": cifar10, "cifar100": cifar100, "tiny-imagenet": tiny}


_ATOM = {name: [PUBLISHED[name]["atom"].get(images) for images in IMAGES] for name in CLASSES}
_IDC = "last epoch; DSA without cutout, CutMix for half of the batches, batches of 64"
_BEST = "best evaluation on the test split"
_UNKNOWN = "not checked"

METHODS = (
    PublishedMethod("ATOM (the paper)", _ATOM, "pixels", f"{_BEST} (DataDAM's code)"),
    PublishedMethod("IDM", _by_set((45.6, 58.6, 67.5), (20.1, 45.1, 50.0), (10.1, 21.9, 27.7)), "2x2 tiles", _BEST),
    PublishedMethod("IDC", _by_set((50.6, 67.5, 74.5), (None, 45.1, None)), "2x2 tiles", _IDC),
    PublishedMethod(
        "DREAM", _by_set((51.1, 69.4, 74.8), (29.5, 46.8, 52.6), (10.0, None, 29.5)), "2x2 tiles", "as IDC"
    ),
    PublishedMethod("DANCE", _by_set((47.1, 70.8, 76.1), (27.9, 49.8, 52.8), (11.6, 26.4, 28.9)), "2x2 tiles", _BEST),
    PublishedMethod(
        "NCFM",
        _by_set((49.5, 71.8, 77.4), (34.4, 48.7, 54.7), (18.2, 26.8, 29.6)),
        "2x2 tiles",
        f"{_BEST}; users of its code report 36 for CIFAR-10 at 1 image (issue 10)",
    ),
    PublishedMethod("FreD", _by_set((60.6, 70.3, 75.8), (34.6, 42.7, 47.8)), "DCT coefficients, float32", _UNKNOWN),
    PublishedMethod("GSDD + TM", _by_set((67.6, 75.5, 77.7), (43.0, 47.4, 53.1)), "Gaussians, bfloat16", _UNKNOWN),
    PublishedMethod(
        "DATM",
        _by_set((46.9, 66.8, 76.1), (27.9, 47.2, 55.0), (17.1, 31.1, 39.7)),
        "pixels, and learned soft labels",
        "with ZCA, on the soft labels",
    ),
)
WHOLE_SET: Mapping[str, float] = {"cifar10": 84.8, "cifar100": 56.2, "tiny-imagenet": 37.6}
"""Accuracy of networks trained on all real images, percent."""

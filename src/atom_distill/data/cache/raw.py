"""What a source hands over before anything is decoded or stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]


class NotHereError(Exception):
    """A place does not hold the data set that was looked for; the text says why. Never leaves this room."""


@dataclass(frozen=True)
class LoadOptions:
    """How a set of image files becomes arrays.

    Attributes:
        image_size: height and width of the result in pixels; None keeps the images' own.
        test_fraction: share of each class that becomes the test split, in (0, 1); None where there is one.
        skip_unreadable: leave out images that cannot be decoded, and count them.
        seed: chooses the images of the test fraction, and nothing else.
    """

    image_size: int | None = None
    test_fraction: float | None = None
    skip_unreadable: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Item:
    """One image that is still encoded: a name for messages, and how to open it with Pillow."""

    name: str
    open: Callable[[], Image]


@dataclass(frozen=True)
class EncodedSplit:
    """Images that are still encoded.

    Attributes:
        labels: int64, shape [N].
        items: gives the N images in the order of the labels; it may be called more than once.
    """

    labels: Labels
    items: Callable[[], Iterable[Item]]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ArraySplit:
    """Decoded images: uint8, shape [N, C, H, W], and labels, int64, shape [N]."""

    images: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


RawSplit: TypeAlias = EncodedSplit | ArraySplit


@dataclass(frozen=True)
class RawDataset:
    """A data set as its source gives it; the two splits are of one kind.

    Attributes:
        class_names: one per class, index = label.
        source: where it came from, for people and for the record.
    """

    train: RawSplit
    test: RawSplit
    class_names: tuple[str, ...]
    source: str

"""A data set as its source provides it, before it is decoded and cached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]


class NotHereError(Exception):
    """A place does not hold the wanted data set; the text says why. It is caught where sets are looked up."""


@dataclass(frozen=True)
class LoadOptions:
    """How a set of image files becomes arrays.

    Attributes:
        image_size: height and width of the result in pixels; None keeps that of the images.
        test_fraction: share of each class that becomes the test split, in (0, 1); None for a set that has one.
        skip_unreadable: leave out images that cannot be decoded, and count them.
        seed: chooses the images of the test fraction, and nothing else.
        test_split: name of the split to test on; None for the first of test, val, dev and eval.
        image_column, label_column: of a table, where several columns could be it; None to infer them.
    """

    image_size: int | None = None
    test_fraction: float | None = None
    skip_unreadable: bool = False
    seed: int = 0
    test_split: str | None = None
    image_column: str | None = None
    label_column: str | None = None

    def refuse(self, reason: str, *names: str) -> None:
        """Raise an error if one of some options is given.

        Raises:
            ConfigError: it is; the message begins with the reason why it cannot apply.
        """
        for name in names:
            if getattr(self, name):
                raise ConfigError(f"{reason}; leave out `{name}`")


@dataclass(frozen=True)
class Item:
    """One encoded image: a name for messages, and a function that opens it with Pillow."""

    name: str
    open: Callable[[], Image]


@dataclass(frozen=True)
class EncodedSplit:
    """Encoded images.

    Attributes:
        labels: int64, shape [N].
        items: returns the N images in the order of the labels; it may be called more than once.
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


@dataclass(frozen=True, eq=False)
class RawDataset:
    """A data set before decoding; both splits are of one kind.

    Attributes:
        train, test: the splits.
        class_names: one per class, index = label.
        source: where it came from, for people and for the record.
        names_declared: whether the class names are declared apart from the images, so that some may have none.
    """

    train: RawSplit
    test: RawSplit
    class_names: tuple[str, ...]
    source: str
    names_declared: bool = False

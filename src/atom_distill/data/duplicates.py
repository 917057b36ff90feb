"""Images that are in a set more than once where that distorts results: in both splits, or in several classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atom_distill.base.progress import Progress
from atom_distill.data.dataset import ImageDataset

_DIGEST = 16  # bytes; two of a billion different images share one with a chance of 1e-21
_TOGETHER = 1024  # images between two updates of the progress bar
_EXAMPLES = 5


@dataclass(frozen=True)
class Copy:
    """One of several equal images: its split ("train" or "test"), its index there, and the name of its class."""

    split: str
    index: int
    class_name: str


@dataclass(frozen=True)
class Duplicates:
    """Groups of equal images, each in the order of the set: training images first.

    Attributes:
        across_splits: groups with images of both splits; they make test accuracies too high.
        across_classes: groups with images of several classes; no network can classify all of these correctly.
    """

    across_splits: tuple[tuple[Copy, ...], ...]
    across_classes: tuple[tuple[Copy, ...], ...]

    def summary(self) -> dict[str, Any]:
        """Return counts and a few examples of both kinds, ready for JSON.

        Keys: `across_splits` and `across_classes`, each with `images` (the number of different images) and `examples`
        (lists of copies, each with `split`, `index` and `class`).
        """
        kinds = {"across_splits": self.across_splits, "across_classes": self.across_classes}
        return {
            kind: {"images": len(groups), "examples": [_as_json(group) for group in groups[:_EXAMPLES]]}
            for kind, groups in kinds.items()
        }


def find_duplicates(dataset: ImageDataset, *, show_progress: bool = True) -> Duplicates:
    """Compare all images of a set by hashes of their decoded pixels.

    Args:
        dataset: its images are read once, a few at a time.
        show_progress: draw a bar.
    """
    labels = np.concatenate([dataset.train.labels.numpy(), dataset.test.labels.numpy()])
    total, in_train = len(labels), len(dataset.train)
    digests: NDArray[np.bytes_] = np.empty(total, f"V{_DIGEST}")
    with Progress("look for duplicates", total=total, unit="images", enabled=show_progress) as bar:
        parts = chain(dataset.train.images.split(_TOGETHER), dataset.test.images.split(_TOGETHER))
        for part in parts:
            digests[bar.done : bar.done + len(part)] = _digests(part)
            bar.advance(len(part))

    def copy(position: int) -> Copy:
        is_train = position < in_train
        index = position if is_train else position - in_train
        return Copy("train" if is_train else "test", index, dataset.class_names[labels[position]])

    groups = [tuple(map(copy, group)) for group in _equal(digests)]
    return Duplicates(
        tuple(group for group in groups if len({each.split for each in group}) > 1),
        tuple(group for group in groups if len({each.class_name for each in group}) > 1),
    )


def _digests(images: Tensor) -> list[bytes]:
    pixels = images.contiguous().numpy()
    return [hashlib.blake2b(image.data, digest_size=_DIGEST).digest() for image in pixels]


def _equal(digests: NDArray[np.bytes_]) -> list[list[int]]:
    """Return the positions of equal values, for each value that is there more than once, in the order of the set."""
    order = np.argsort(digests, kind="stable")
    ends = np.flatnonzero(digests[order][1:] != digests[order][:-1]) + 1
    return sorted(group.tolist() for group in np.split(order, ends) if len(group) > 1)


def _as_json(group: tuple[Copy, ...]) -> list[dict[str, Any]]:
    return [{"split": each.split, "index": each.index, "class": each.class_name} for each in group[:_EXAMPLES]]

"""The type of every loaded data set: uint8 images, labels, class names, a training and a test split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.base.plain_text import valid_text
from atom_distill.data.rows import take


@dataclass(frozen=True, eq=False)
class Split:
    """Labeled images.

    Attributes:
        images: uint8, shape [N, C, H, W], often a memory map.
        labels: int64, shape [N], values in [0, K).
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise DataError(
                f"images must be uint8 of shape [N, C, H, W], got {self.images.dtype} {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels must be int64 of shape [{len(self.images)}], "
                f"got {self.labels.dtype} {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Split:
        """Return a split of the images at `indices` (int64, shape [n])."""
        return Split(take(self.images, indices), self.labels[indices])


@dataclass(frozen=True, repr=False, eq=False)
class ImageDataset:
    """A labeled image set with a training and a test split.

    Attributes:
        name: short name, used for run folders.
        train: the images to distill.
        test: the images that scores are measured on, used for nothing else.
        class_names: one per class, index = label; always valid text, even if a folder's name is not, and different:
            where several classes have one name, their labels are added, as in "crane (0)" and "crane (1)".
        source: where it came from, to be shown and recorded.
        fingerprint: hash of the contents in their order, the key of everything that is cached about them.
        contents: hash of the contents in any order; empty where it is not known.
        names_declared: whether the class names are declared separately from the images. If so, `load_dataset` leaves
            out those without images; an empty class folder is an error.
        skipped: number of unreadable images that were left out on request.
        request: arguments of `load_dataset` that load it again; empty for a set that was not loaded.
        cache_folder: folder of the decoded arrays; None for a set in memory.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: str
    fingerprint: str
    contents: str = ""
    names_declared: bool = False
    skipped: int = 0
    request: Mapping[str, Any] = field(default_factory=dict)
    cache_folder: Path | None = None

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        sizes = f"{len(self.train)} train, {len(self.test)} test"
        return f"ImageDataset({self.name}, {sizes}, {shape}, {self.num_classes} classes)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", _distinct(tuple(map(valid_text, self.class_names))))
        self._check_shapes()
        self._check_labels()

    @property
    def num_classes(self) -> int:
        """Return K, the number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def identity(self) -> dict[str, Any]:
        """Return the description of the set that results record, as values for YAML or JSON."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "contents": self.contents,
            "request": dict(self.request),
            "train_size": len(self.train),
            "test_size": len(self.test),
            "classes": self.num_classes,
        }

    def class_sizes(self) -> Tensor:
        """Return the number of training images of each class, int64 [K]."""
        return torch.bincount(self.train.labels, minlength=self.num_classes)

    def class_indices(self) -> list[Tensor]:
        """Return, for each class, the indices of its training images (int64)."""
        order = torch.argsort(self.train.labels, stable=True)
        return list(torch.split(order, self.class_sizes().tolist()))

    def _check_shapes(self) -> None:
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise DataError(
                f"{self.name}: train images are {tuple(self.train.images.shape[1:])} and test images "
                f"{tuple(self.test.images.shape[1:])}; they must be of one shape (see `image_size`)"
            )
        channels = self.image_shape[0]
        if channels not in (1, 3):
            raise DataError(f"{self.name}: images must have 1 or 3 channels, got {channels}")

    def _check_labels(self) -> None:
        if self.num_classes < 2:
            raise DataError(
                f"{self.name} has {self.num_classes} class{'es' if self.num_classes != 1 else ''}; "
                "distillation separates classes and needs at least 2"
            )
        if len(self.test) == 0:
            raise DataError(f"{self.name} has no test images; add a test/ folder or pass `test_fraction`")
        for split_name, split in (("train", self.train), ("test", self.test)):
            labels = split.labels
            if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= self.num_classes):
                raise DataError(f"{self.name}: a {split_name} label is outside 0..{self.num_classes - 1}")


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names, those that occur more than once with their positions."""
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({position})" for position, name in enumerate(names))

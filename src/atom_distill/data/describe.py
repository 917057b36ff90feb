"""A data set in numbers, as `atom data` shows it."""

from __future__ import annotations

from typing import Any

import torch

from atom_distill.data.darkness import darkness, largest_value
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.duplicates import find_duplicates
from atom_distill.data.statistics import channel_statistics


def describe(dataset: ImageDataset) -> dict[str, Any]:
    """Return the sizes, counts and statistics of a set, ready for JSON.

    Keys: `name`, `source`, `fingerprint`, `classes` (their number), `class_names`, `train` and `test` (each
    `images` and `per_class`), `image_shape` [C, H, W], `dtype`, `mean` and `std` (per channel over the pixels of the
    training images, in [0, 1]), `largest` (value of a pixel of the training images, 0 to 255), `dark` (what a small one
    means, or None), `duplicates` (see `Duplicates.summary`), `skipped` and `cache_folder` (None for a set in memory).
    """
    mean, std = channel_statistics(dataset.train.images)
    largest = largest_value(dataset.train.images.numpy())
    return {
        "name": dataset.name,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "classes": dataset.num_classes,
        "class_names": list(dataset.class_names),
        "train": _counts(dataset.train, dataset.num_classes),
        "test": _counts(dataset.test, dataset.num_classes),
        "image_shape": list(dataset.image_shape),
        "dtype": str(dataset.train.images.dtype).removeprefix("torch."),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "largest": largest,
        "dark": darkness(largest),
        "duplicates": find_duplicates(dataset).summary(),
        "skipped": dataset.skipped,
        "cache_folder": str(dataset.cache_folder) if dataset.cache_folder else None,
    }


def _counts(split: Split, num_classes: int) -> dict[str, Any]:
    per_class = torch.bincount(split.labels, minlength=num_classes)
    return {"images": len(split), "per_class": per_class.tolist()}

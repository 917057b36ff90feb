"""Choosing training images: a few of each class, or a share to hold out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.base.seeding import generator
from atom_distill.data.dataset import ImageDataset


def random_subset(dataset: ImageDataset, ipc: int, seed: int) -> Tensor:
    """Choose `ipc` training images of each class; returns their indices, int64 [K * ipc], class after class.

    Raises:
        ConfigError: a class has fewer images.
    """
    require_images(dataset, ipc)
    chosen = []
    for label, indices in enumerate(dataset.class_indices()):
        order = torch.randperm(len(indices), generator=generator(seed, "subset", label))
        chosen.append(indices[order[:ipc]])
    return torch.cat(chosen)


def require_images(dataset: ImageDataset, ipc: int, otherwise: str = "") -> None:
    """Make sure that every class has `ipc` training images.

    Args:
        dataset: real images.
        ipc: images per class.
        otherwise: what else the user can do, for the message.

    Raises:
        ConfigError: a class has fewer; the message names the smallest one.
    """
    counts = torch.bincount(dataset.train.labels, minlength=dataset.num_classes)
    smallest = int(counts.argmin())
    available = int(counts[smallest])
    if ipc > available:
        raise ConfigError(
            f"ipc {ipc} is more than the {available} training images of class {dataset.class_names[smallest]!r}: "
            f"use --ipc {available} or less{otherwise}"
        )


def hold_out(dataset: ImageDataset, share: float, seed: int) -> ImageDataset:
    """Set aside a share of each class's training images as the test split; the real test split is dropped.

    Every class keeps at least one image on each side.

    Raises:
        ConfigError: a class has fewer than two training images.
    """
    kept, held = [], []
    for label, indices in enumerate(dataset.class_indices()):
        if len(indices) < 2:
            raise ConfigError(f"class {dataset.class_names[label]!r} has one training image: nothing can be held out")
        count = min(len(indices) - 1, max(1, round(share * len(indices))))
        order = torch.randperm(len(indices), generator=generator(seed, "hold out", label))
        held.append(indices[order[:count]])
        kept.append(indices[order[count:]])
    return replace(
        dataset,
        train=dataset.train.subset(torch.cat(kept).sort().values),
        test=dataset.train.subset(torch.cat(held).sort().values),
        fingerprint=f"{dataset.fingerprint}-held-out-{share}-{seed}",
    )

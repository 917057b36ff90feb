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
    chosen = []
    for label, indices in enumerate(dataset.class_indices()):
        if len(indices) < ipc:
            raise ConfigError(
                f"class {dataset.class_names[label]!r} has {len(indices)} training images, fewer than ipc {ipc}: "
                f"use ipc {len(indices)} or less"
            )
        order = torch.randperm(len(indices), generator=generator(seed, "subset", label))
        chosen.append(indices[order[:ipc]])
    return torch.cat(chosen)


def hold_out(dataset: ImageDataset, share: float, seed: int) -> ImageDataset:
    """Set aside a share of each class's training images as the test split; the real test split is dropped.

    Every class keeps at least one image on each side.

    Raises:
        ConfigError: a class has fewer than two training images.
    """
    kept, held = [], []
    for label, indices in enumerate(dataset.class_indices()):
        if len(indices) < 2:
            raise ConfigError(
                f"class {dataset.class_names[label]!r} has one training image: nothing can be held out for --eval-every"
            )
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

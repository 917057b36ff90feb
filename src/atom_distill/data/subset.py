"""Choosing training images: a few of each class, or a share to hold out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.base.seeding import generator
from atom_distill.data.dataset import ImageDataset


def random_subset(dataset: ImageDataset, per_class: int | Tensor, seed: int) -> Tensor:
    """Choose training images of each class.

    Args:
        dataset: real images.
        per_class: images of each class; one number for all, or int64 [K].
        seed: of the draw.

    Returns:
        Indices into the training split, int64, class after class.

    Raises:
        ConfigError: a class has fewer images.
    """
    require_images(dataset, per_class)
    counts = torch.as_tensor(per_class).expand(dataset.num_classes).tolist()
    chosen = []
    for label, indices in enumerate(dataset.class_indices()):
        order = torch.randperm(len(indices), generator=generator(seed, "subset", label))
        chosen.append(indices[order[: counts[label]]])
    return torch.cat(chosen)


def require_images(dataset: ImageDataset, per_class: int | Tensor, otherwise: str = "") -> None:
    """Make sure that every class has so many training images.

    Args:
        dataset: real images.
        per_class: images of each class; one number for all, or int64 [K].
        otherwise: what else the user can do, for the message.

    Raises:
        ConfigError: a class has fewer; the message names the one that lacks most.
    """
    sizes, wanted = dataset.class_sizes(), torch.as_tensor(per_class).expand(dataset.num_classes)
    short = int((wanted - sizes).argmax())
    available = int(sizes[short])
    if wanted[short] > available:
        raise ConfigError(
            f"ipc {int(wanted[short])} is more than the {available} training images of class "
            f"{dataset.class_names[short]!r}: use --ipc {available} or less{otherwise}"
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

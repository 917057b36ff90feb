"""Choosing training images: a few of each class, or a share to hold out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import unknown_name
from atom_distill.base.seeding import generator
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.rows import take


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


def only_classes(dataset: ImageDataset, wanted: int | Sequence[str]) -> ImageDataset:
    """Keep some classes, relabeled from 0 in the order given.

    Args:
        dataset: both of its splits are cut.
        wanted: names of classes; or how many, from the first.

    Raises:
        ConfigError: there are fewer classes, or one is named twice.
        UnknownNameError: there is no class of a name.
    """
    known = list(dataset.class_names)
    if isinstance(wanted, bool) or not isinstance(wanted, int | Sequence) or isinstance(wanted, str):
        raise ConfigError(f"classes is a number or a list of names, not {wanted!r}")
    if isinstance(wanted, int):
        if not 2 <= wanted <= len(known):
            raise ConfigError(f"--classes {wanted} is out of range: {dataset.name} has {len(known)}, and 2 are needed")
        names = known[:wanted]
    else:
        names = list(wanted)
        for name in names:
            if name not in known:
                raise unknown_name("class", str(name), known)
        if len(set(names)) < len(names):
            raise ConfigError("--classes names a class twice")
        if len(names) < 2:
            raise ConfigError("--classes names fewer than 2 classes, and 2 are needed")
    place = torch.full((len(known),), -1)
    place[[known.index(name) for name in names]] = torch.arange(len(names))

    def cut(split: Split) -> Split:
        rows = (place[split.labels] >= 0).nonzero().flatten()
        return Split(take(split.images, rows), place[split.labels[rows]])

    return replace(
        dataset,
        train=cut(dataset.train),
        test=cut(dataset.test),
        class_names=tuple(names),
        fingerprint=f"{dataset.fingerprint}-classes-{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}",
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

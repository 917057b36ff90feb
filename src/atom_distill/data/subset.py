"""Choosing training images: some of each class, some classes, or a held-out share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.progress import note
from atom_distill.base.registry import unknown_name
from atom_distill.base.seeding import generator
from atom_distill.data.dataset import ImageDataset, Split

_OF_CLASSES = "-classes-"
"""Before what the fingerprint of some classes adds to that of the whole set."""
_SHOWN = 5
"""Classes named in a message."""


def random_subset(dataset: ImageDataset, per_class: int | Tensor, seed: int) -> Tensor:
    """Draw training images of each class.

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


def require_images(
    dataset: ImageDataset, per_class: int | Tensor, otherwise: str = "", *, size: str = "ipc", of_each: int = 1
) -> None:
    """Raise an error unless every class has enough training images.

    Args:
        dataset: real images.
        per_class: stored images of each class; one number for all, or int64 [K].
        otherwise: what else the user can do, for the message.
        size: the setting that asks for so many.
        of_each: real images that a stored one holds.

    Raises:
        ConfigError: a class has fewer; the message names the class that lacks most.
    """
    sizes, wanted = dataset.class_sizes(), torch.as_tensor(per_class).expand(dataset.num_classes)
    short = int((wanted * of_each - sizes).argmax())
    asked, available = int(wanted[short]), int(sizes[short])
    if asked * of_each > available:
        asked_for = f"{size} {asked}" + (f" of {of_each} images each" if of_each > 1 else "")
        possible = available // of_each
        instead = f"`{size}={possible}` or less{otherwise}" if possible else "another `parameterization`"
        raise ConfigError(
            f"{asked_for} is more than the {available} training images of class {dataset.class_names[short]!r}: use "
            f"{instead}"
        )


def only_classes(dataset: ImageDataset, wanted: int | Sequence[str]) -> ImageDataset:
    """Keep some classes of both splits, relabeled from 0 in the given order.

    Args:
        dataset: to be cut.
        wanted: names of classes; or how many, from the first.

    Raises:
        ConfigError: there are fewer classes, fewer than two are wanted, or one is named twice.
        UnknownNameError: there is no class of that name.
    """
    known = list(dataset.class_names)
    return _only_labels(dataset, [known.index(name) for name in _chosen_names(dataset.name, known, wanted)])


def _only_labels(dataset: ImageDataset, labels: list[int]) -> ImageDataset:
    names = [dataset.class_names[label] for label in labels]
    new_label = torch.full((dataset.num_classes,), -1)
    new_label[labels] = torch.arange(len(labels))

    def cut(split: Split) -> Split:
        wanted = new_label[split.labels] >= 0
        kept = split if bool(wanted.all()) else split.subset(wanted.nonzero().flatten())
        return Split(kept.images, new_label[kept.labels])

    part = f"{_OF_CLASSES}{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}"
    return replace(
        dataset,
        train=cut(dataset.train),
        test=cut(dataset.test),
        class_names=tuple(names),
        fingerprint=f"{dataset.fingerprint}{part}",
        contents=dataset.contents and f"{dataset.contents}{part}",
    )


def whole_fingerprint(fingerprint: str) -> str:
    """Return the fingerprint of the set of which `only_classes` took some, from that of what it returned."""
    return fingerprint.partition(_OF_CLASSES)[0]


def _chosen_names(dataset_name: str, known: list[str], wanted: int | Sequence[str]) -> list[str]:
    if isinstance(wanted, bool | str) or not isinstance(wanted, int | Sequence):
        raise ConfigError(f"`classes` must be a number or a list of names, not {wanted!r}")
    if isinstance(wanted, int):
        if not 2 <= wanted <= len(known):
            raise ConfigError(f"`classes={wanted}` is out of range: {dataset_name} has {len(known)}, and 2 are needed")
        return known[:wanted]
    for name in wanted:
        if name not in known:
            raise unknown_name("class", str(name), known)
    if len(set(wanted)) < len(wanted):
        raise ConfigError("`classes` names a class twice")
    if len(wanted) < 2:
        raise ConfigError("`classes` names fewer than 2 classes, and 2 are needed")
    return list(wanted)


def with_images(dataset: ImageDataset) -> ImageDataset:
    """Return a set in which every class has training images: declared names of no images are left out, with a note.

    Raises:
        DataError: a class has test images only, or is not merely declared; or fewer than two classes have images.
    """
    train, test = dataset.class_sizes().tolist(), torch.bincount(dataset.test.labels, minlength=dataset.num_classes)
    kept = [label for label, size in enumerate(train) if size]
    empty = [label for label, size in enumerate(train) if not size]
    if not empty:
        return dataset
    lacking = [label for label in empty if test[label] or not dataset.names_declared]
    if lacking or len(kept) < 2:
        raise DataError(
            f"{dataset.name}: class {_some(dataset, lacking or empty)} has no training images; add some, remove the "
            "class, or name those to keep with `classes`"
        )
    note(f"{dataset.name}: left out, since there are no images of it: class {_some(dataset, empty)}")
    return _only_labels(dataset, kept)


def require_test_images(dataset: ImageDataset) -> None:
    """Raise an error if a class was too small for a test fraction.

    Raises:
        DataError: its only image is for training.
    """
    in_test = torch.bincount(dataset.test.labels, minlength=dataset.num_classes)
    alone = ((dataset.class_sizes() == 1) & (in_test == 0)).nonzero().flatten().tolist()
    if alone:
        kind = "readable image" if dataset.skipped else "image"
        raise DataError(
            f"{dataset.name}: class {_some(dataset, alone)} has 1 {kind}; `test_fraction` needs at least 2 per class, "
            "one to train and one to test: add some, remove the class, or name those to keep with `classes`"
        )


def _some(dataset: ImageDataset, labels: list[int]) -> str:
    shown = [repr(dataset.class_names[label]) for label in labels]
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def held_out_images(size: int, share: float) -> int:
    """Return how many images of a class of at least two `hold_out` takes."""
    return min(size - 1, max(1, round(share * size)))


def hold_out(dataset: ImageDataset, share: float, seed: int) -> ImageDataset:
    """Make a share of each class's training images the test split; the real test split is dropped.

    Every class keeps at least one image in each split.

    Raises:
        ConfigError: a class has fewer than two training images.
    """
    kept, held = [], []
    for label, indices in enumerate(dataset.class_indices()):
        if len(indices) < 2:
            raise ConfigError(f"class {dataset.class_names[label]!r} has one training image: nothing can be held out")
        count = held_out_images(len(indices), share)
        order = torch.randperm(len(indices), generator=generator(seed, "hold out", label))
        held.append(indices[order[:count]])
        kept.append(indices[order[count:]])
    return replace(
        dataset,
        train=dataset.train.subset(torch.cat(kept).sort().values),
        test=dataset.train.subset(torch.cat(held).sort().values),
        fingerprint=f"{dataset.fingerprint}-held-out-{share}-{seed}",
        contents="",  # which images are held out depends on their order
    )

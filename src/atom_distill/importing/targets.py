"""Published labels, of whatever type, as class numbers and, where they are soft, probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note

_SUM_TOLERANCE = 1e-3
"""How far rows of probabilities that were stored in low precision may be from a sum of 1."""
_ROUNDING = 1e-6
"""How far those of float32 are: left as they are, so that what was written by us is read bit for bit."""


@dataclass(frozen=True)
class Targets:
    """What the images stand for.

    Attributes:
        hard: class numbers, int64 [N].
        soft: probabilities, float32 [N, K]; None where the labels are class numbers.
        guessed: whether the class numbers are but the largest entries of soft labels.
    """

    hard: Tensor
    soft: Tensor | None
    guessed: bool = False


def targets_of(labels: Tensor, num_classes: int, soft: Tensor | None = None) -> Targets:
    """Read labels.

    Args:
        labels: [N] or [N, 1] whole numbers of any type, or [N, K]: one-hot, probabilities, or logits. Rows that are not
            probabilities are taken as logits and go through a softmax, as DATM's loss does with its labels.
        num_classes: K.
        soft: [N, K] that lie beside class numbers, to learn in their place.

    Raises:
        DataError: they are neither, or name classes that do not exist.
    """
    if soft is not None:
        beside = targets_of(soft, num_classes)
        if len(beside.hard) != len(labels):
            raise DataError(f"there are {len(beside.hard)} soft labels for {len(labels)} class numbers")
        return Targets(targets_of(labels, num_classes).hard, beside.soft)
    labels = labels.detach()
    if not (labels.is_floating_point() or labels.is_complex()):
        labels = labels.long()  # torch can do little with its other whole numbers
    elif labels.is_floating_point() and labels.dtype != torch.float64:
        labels = labels.float()
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.is_complex() or labels.ndim not in (1, 2) or not bool(torch.isfinite(labels).all()):
        raise DataError(f"labels must be finite, [N] or [N, {num_classes}], got {labels.dtype} {tuple(labels.shape)}")
    if labels.ndim == 2:
        return _from_rows(labels.float(), num_classes)
    hard = labels.long()
    if not bool((hard == labels).all()):
        raise DataError("labels [N] must be whole numbers; soft labels are [N, K]")
    if len(hard) and (int(hard.min()) < 0 or int(hard.max()) >= num_classes):
        raise DataError(
            f"labels run from {int(hard.min())} to {int(hard.max())}, but the data set has {num_classes} classes; "
            "is --as the set that was distilled?"
        )
    return Targets(hard, None)


def _from_rows(rows: Tensor, num_classes: int) -> Targets:
    if rows.shape[1] != num_classes:
        raise DataError(
            f"soft labels are for {rows.shape[1]} classes, but the data set has {num_classes}; "
            "is --as the set that was distilled?"
        )
    sums = rows.sum(1)
    if bool((rows >= 0).all()) and bool(((sums - 1).abs() <= _SUM_TOLERANCE).all()):
        exact = bool(((sums - 1).abs() <= _ROUNDING).all())
        probabilities = rows if exact else rows / sums[:, None]
        one_hot = bool((rows.max(1).values == 1).all())
        return Targets(rows.argmax(1), None if one_hot else probabilities, guessed=not one_hot)
    note("the soft labels are logits; stored are their softmax probabilities")
    return Targets(rows.argmax(1), rows.softmax(1), guessed=True)


def by_class(targets: Targets, num_classes: int) -> tuple[Tensor, Targets]:
    """Bring labels into the order of an artifact: class after class.

    Soft labels may have drifted while they were learned, so that their largest entries are no longer balanced. Their
    images lie class after class by construction (DATM, MTT); where most entries agree with that, it decides.

    Returns:
        The order, int64 [N], and the targets in it.

    Raises:
        DataError: a class has no image, or the classes of soft labels cannot be told.
    """
    hard = targets.hard
    counts = torch.bincount(hard, minlength=num_classes)
    if targets.guessed and not _equal(counts):
        hard = _by_place(hard, num_classes)
    elif int(counts.min()) == 0:
        raise DataError(
            f"classes have 0 to {int(counts.max())} images; each needs one. Is --as the set that was distilled?"
        )
    order = torch.argsort(hard, stable=True)
    soft = targets.soft
    return order, Targets(hard[order], soft if soft is None else soft[order])


def _by_place(guessed: Tensor, num_classes: int) -> Tensor:
    """Give the class of each image by where it lies, if most soft labels agree with that."""
    each, left = divmod(len(guessed), num_classes)
    by_place = torch.arange(num_classes).repeat_interleave(each)
    drifted = len(guessed) if left else int((by_place != guessed).sum())
    if 2 * drifted >= len(guessed):
        counts = torch.bincount(guessed, minlength=num_classes)
        raise DataError(
            f"classes have {int(counts.min())} to {int(counts.max())} images by the largest entry of their soft "
            "labels, and do not lie in order either; which image is of which class cannot be told"
        )
    note(f"{drifted} soft labels have their largest entry at another class than their place; the place counts")
    return by_place


def _equal(counts: Tensor) -> bool:
    return bool((counts == counts[0]).all())

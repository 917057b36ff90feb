"""Published labels, of whatever type, as class numbers and, where they are soft, probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note

_SUM_TOLERANCE = 1e-3
"""How far rows of probabilities that were stored in low precision may be from a sum of 1."""


@dataclass(frozen=True)
class Targets:
    """What the images stand for.

    Attributes:
        hard: class numbers, int64 [N].
        soft: probabilities, float32 [N, K]; None where the labels are class numbers.
    """

    hard: Tensor
    soft: Tensor | None


def targets_of(labels: Tensor, num_classes: int) -> Targets:
    """Read labels.

    Args:
        labels: [N] or [N, 1] whole numbers of any type, or [N, K]: one-hot, probabilities, or logits. Rows that are not
            probabilities are taken as logits and go through a softmax, as DATM's loss does with its labels.
        num_classes: K.

    Raises:
        DataError: they are neither, or name classes that do not exist.
    """
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
        probabilities = rows / sums[:, None]
        one_hot = bool((rows.max(1).values == 1).all())
        return Targets(rows.argmax(1), None if one_hot else probabilities)
    note("the soft labels are logits; stored are their softmax probabilities")
    return Targets(rows.argmax(1), rows.softmax(1))


def by_class(targets: Targets, num_classes: int) -> tuple[Tensor, Targets]:
    """Bring labels into the order of an artifact: class after class, equally many of each.

    Soft labels may have drifted while they were learnt, so that their largest entries are no longer balanced. Their
    images lie class after class by construction (DATM, MTT); where most entries agree with that, it decides.

    Returns:
        The order, int64 [N], and the targets in it.

    Raises:
        DataError: the classes have different numbers of images.
    """
    hard = targets.hard
    if targets.soft is not None and not _balanced(hard, num_classes) and len(hard) % num_classes == 0:
        by_place = torch.arange(num_classes).repeat_interleave(len(hard) // num_classes)
        drifted = int((by_place != hard).sum())
        if 2 * drifted < len(hard):
            note(f"{drifted} soft labels have their largest entry at another class than their place; the place counts")
            hard = by_place
    if not _balanced(hard, num_classes):
        counts = torch.bincount(hard, minlength=num_classes)
        raise DataError(
            f"classes have {int(counts.min())} to {int(counts.max())} images; "
            "a distilled set has equally many of each class, so this one cannot be kept as one"
        )
    order = torch.argsort(hard, stable=True)
    soft = targets.soft
    return order, Targets(hard[order], soft if soft is None else soft[order])


def _balanced(hard: Tensor, num_classes: int) -> bool:
    counts = torch.bincount(hard, minlength=num_classes)
    return bool(counts.min() > 0) and bool((counts == counts[0]).all())

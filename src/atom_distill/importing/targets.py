"""Conversion of published labels of any type to class numbers and, if they are soft, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.importing.class_names import labels_of_numbers, spelling_hint
from atom_distill.importing.published_set import Labels

_SUM_TOLERANCE = 1e-3
"""Largest deviation from a sum of 1 of probabilities that were stored in low precision."""
_ROUNDING = 1e-6
"""The same for float32: such rows are not rescaled, so that our own exports are read bit for bit."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What networks learn for each image.

    Attributes:
        hard: class numbers, int64 [N].
        soft: probabilities, float32 [N, K]; None if the labels are class numbers.
        guessed: whether the class numbers are only the largest entries of soft labels.
    """

    hard: Tensor
    soft: Tensor | None
    guessed: bool = False


def numbers_of(labels: Labels, class_names: Sequence[str]) -> Tensor:
    """Return labels as a tensor: names of classes as their numbers, others as they are.

    Names that are numbers in text count as numbers where no class has them as a name; see `labels_of_numbers`.

    Raises:
        DataError: a name is not that of a class.
    """
    if isinstance(labels, Tensor):
        return labels
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = sorted(set(labels) - set(numbers))
    if unknown and all(name.isdecimal() and len(name) < 10 for name in labels):
        return torch.tensor(labels_of_numbers([int(name) for name in labels], class_names))
    if unknown:
        named = f"{unknown[0]!r}{spelling_hint(unknown[0], class_names)}"
        raise DataError(
            f"the labels name the class {named}, and the data set has {', '.join(map(repr, class_names[:5]))}"
            f"{', ...' if len(class_names) > 5 else ''}; is `dataset` the one that was distilled?"
        )
    return torch.tensor([numbers[name] for name in labels])


def targets_of(labels: Tensor, num_classes: int, soft: Tensor | None = None) -> Targets:
    """Return labels as class numbers and probabilities.

    Args:
        labels: [N] or [N, 1] whole numbers of any type, or [N, K]: one-hot, probabilities, parts of another
            sum (percent), or logits. Other rows are taken as logits and go through a softmax, as in DATM's loss.
        num_classes: K.
        soft: [N, K], given in addition to class numbers, to learn instead of them.

    Raises:
        DataError: the labels are neither, or have classes that do not exist.
    """
    if soft is not None:
        beside = targets_of(soft, num_classes)
        if len(beside.hard) != len(labels):
            raise DataError(f"there are {len(beside.hard)} soft labels for {len(labels)} class numbers")
        return Targets(targets_of(labels, num_classes).hard, beside.soft)
    labels = labels.detach()
    if not (labels.is_floating_point() or labels.is_complex()):
        labels = labels.long()  # torch supports few operations on its other integer types
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
            "is `dataset` the one that was distilled?"
        )
    return Targets(hard, None)


def check_agreement(hard: Tensor, soft: Tensor) -> None:
    """Refuse soft labels most of which contradict the class numbers; print how many do if they are fewer.

    Teachers err, and learned soft labels drift, so that the largest entry of some is at another class.

    Args:
        hard: class numbers, int64 [N].
        soft: [N, K].

    Raises:
        DataError: half of the largest entries or more are at other classes.
    """
    differ = int((hard != soft.float().argmax(1)).sum())
    told = f"{differ} of {len(hard)} soft labels have their largest entry at another class than the labels say"
    if 2 * differ >= len(hard):
        raise DataError(
            f"{told}; one of the two is wrong, or in another order: save the images with the right one only"
        )
    if differ:
        note(f"{told}: the labels decide the class, and networks learn the soft labels")


def _from_rows(rows: Tensor, num_classes: int) -> Targets:
    if rows.shape[1] != num_classes:
        raise DataError(
            f"soft labels are for {rows.shape[1]} classes, but the data set has {num_classes}; "
            "is `dataset` the one that was distilled?"
        )
    sums = rows.sum(1)
    if bool((rows >= 0).all()) and bool(((sums - 1).abs() <= _SUM_TOLERANCE).all()):
        exact = bool(((sums - 1).abs() <= _ROUNDING).all())
        probabilities = rows if exact else rows / sums[:, None]
        one_hot = bool((rows.max(1).values == 1).all())
        return Targets(rows.argmax(1), None if one_hot else probabilities, guessed=not one_hot)
    total = float(sums.sum()) / max(len(sums), 1)
    several = bool(((rows > 0).sum(1) > 1).any())  # numbers times a one-hot code are logits at their start
    if several and bool((rows >= 0).all()) and bool(((sums / total - 1).abs() <= _SUM_TOLERANCE).all()):
        note(f"the soft labels of each image sum to {total:.4g}: they are divided by it")
        return _from_rows(rows / sums[:, None], num_classes)
    note("the soft labels are logits: their softmax is stored")
    return Targets(rows.argmax(1), rows.softmax(1), guessed=True)


def by_class(targets: Targets, num_classes: int) -> tuple[Tensor, Targets]:
    """Return labels sorted by class, the order of a distilled set.

    Learned soft labels may have drifted, so that their largest entries are no longer balanced. Their images are stored
    class after class (DATM, MTT): if most largest entries agree with that order, it decides.

    Returns:
        The order, int64 [N], and the targets in it.

    Raises:
        DataError: a class has no image, or the classes of soft labels cannot be determined.
    """
    hard = targets.hard
    counts = torch.bincount(hard, minlength=num_classes)
    if targets.guessed and len(set(counts.tolist())) > 1:
        hard = _by_place(hard, num_classes)
    elif int(counts.min()) == 0:
        raise DataError(
            f"classes have 0 to {int(counts.max())} images; each needs one. Is `dataset` the one that was distilled, "
            "and the file the whole set?"
        )
    order = torch.argsort(hard, stable=True)
    soft = targets.soft
    return order, Targets(hard[order], soft if soft is None else soft[order])


def _by_place(guessed: Tensor, num_classes: int) -> Tensor:
    """Return the class of each image by its position, if most soft labels agree with it."""
    each, left = divmod(len(guessed), num_classes)
    by_place = torch.arange(num_classes).repeat_interleave(each)
    drifted = len(guessed) if left else int((by_place != guessed).sum())
    if 2 * drifted >= len(guessed):
        counts = torch.bincount(guessed, minlength=num_classes)
        raise DataError(
            f"classes have {int(counts.min())} to {int(counts.max())} images by the largest entry of their soft "
            "labels, and are not stored class after class either; the class of each image cannot be determined"
        )
    note(f"{drifted} soft labels have their largest entry at another class than their position; the position decides")
    return by_place

"""The parts of a set with their labels as stored: which are its splits, and which class each label stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import compress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import EncodedSplit, Item, Labels, LoadOptions, RawDataset
from atom_distill.data.sources.splits import TRAIN, choose_splits, split_of, stratified_split

_KINDS = {"i": "whole numbers", "b": "true and false", "U": "texts"}
_Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class StoredLabels:
    """Labels as they are stored.

    Attributes:
        values: int64, bool or text, shape [N]; without meaning in rows that have no label.
        missing: rows that have no label, shape [N].
    """

    values: NDArray[Any]
    missing: _Mask

    @classmethod
    def of(cls, values: NDArray[Any], missing: _Mask | None = None) -> StoredLabels:
        """Return labels of any numbers, texts or truth values, shape [N]; no number and no text mean no label.

        Raises:
            ValueError: numbers are not whole, or the values are of another kind.
        """
        missing = np.zeros(len(values), bool) if missing is None else missing
        kind = values.dtype.kind
        if kind == "f":
            missing = missing | np.isnan(values)
            values = np.where(missing, 0, values)
            odd = values[~np.isfinite(values) | (values != np.rint(values))]
            if len(odd):
                raise ValueError(f"numbers that are not whole, such as {odd[0]:g}")
        elif kind == "U":
            missing = missing | (np.char.strip(values) == "")
        elif kind not in "iub":
            raise ValueError(f"values of type {values.dtype}")
        return cls(values.astype(np.int64) if kind in "iuf" else values, missing)

    def without(self, number: int) -> StoredLabels:
        """Return the same labels with one number read as no label."""
        return StoredLabels(self.values, self.missing | (self.values == number))


@dataclass(frozen=True)
class Part:
    """A part of a set, which may become a split.

    Attributes:
        labels: one for each image; None if the part has none.
        items: returns all of its images in order; it may be called more than once.
    """

    labels: StoredLabels | None
    items: Callable[[], Iterator[Item]]


def assemble(parts: dict[str, Part], names: tuple[str, ...] | None, source: str, options: LoadOptions) -> RawDataset:
    """Choose the splits among the labeled parts of a set, and number its classes.

    Args:
        parts: by name, e.g. "train" and "validation"; those without labels are left out, and a note says so.
        names: of the classes, if whole numbers are indices into them; otherwise the sorted training labels.
        source: name of the set, for messages.
        options: how to split.

    Raises:
        DataError: a split is missing, has rows without a label, or does not fit the other.
        ConfigError: a test fraction was given though there is a test split.
    """
    labels = _minus_one_is_no_label({name: part.labels for name, part in parts.items() if part.labels}, names)
    labeled = {name for name in parts if split_of(name) == TRAIN or (name in labels and not labels[name].missing.all())}
    unlabeled = [name for name in parts if name not in labeled]
    if unlabeled:
        note(f"{source}: not used, for it has no labels: {', '.join(unlabeled)}")
    chosen = choose_splits(labeled, source, options)
    if unlabeled and chosen.test:
        note(f"{source}: the test split is {chosen.test}")
    used = [name for name in chosen if name is not None]
    for name in used:
        _require_labels(labels.get(name), f"{source} ({name})")
    numbers, names = _to_indices([labels[name].values for name in used], names, source)
    train, *test = (EncodedSplit(found, parts[name].items) for found, name in zip(numbers, used, strict=True))
    if test:
        return RawDataset(train, test[0], names, source, names_declared=True)
    rows = stratified_split(train.labels, options.test_fraction or 0.0, options.seed, names)
    train, held = (_only(train, part) for part in rows)
    return RawDataset(train, held, names, source, names_declared=True)


def _only(split: EncodedSplit, rows: Labels) -> EncodedSplit:
    """Return a split of some rows, which ascend."""
    wanted = np.zeros(len(split), bool)
    wanted[rows] = True
    return EncodedSplit(split.labels[rows], lambda: compress(split.items(), wanted))


def _minus_one_is_no_label(labels: dict[str, StoredLabels], names: tuple[str, ...] | None) -> dict[str, StoredLabels]:
    """Return labels in which -1 means none, unless -1 and 1 are the two classes of the training split."""
    for name, split in labels.items():
        if split_of(name) == TRAIN and names is None and set(np.unique(split.values).tolist()) == {-1, 1}:
            return labels
    numbers = {name for name, split in labels.items() if split.values.dtype.kind == "i"}
    return {name: split.without(-1) if name in numbers else split for name, split in labels.items()}


def _require_labels(labels: StoredLabels | None, name: str) -> None:
    if labels is None:
        raise DataError(f"{name} has no labels; add them, or choose another column with `label_column`")
    if len(labels.values) == 0:
        raise DataError(f"{name} has no rows")
    count = int(labels.missing.sum())
    if count:
        first = int(np.flatnonzero(labels.missing)[0])
        raise DataError(
            f"{name}: {count} of {len(labels.values)} rows without a label (-1 or empty; the first is row {first}); "
            "remove these rows, or choose other columns or splits with `label_column` or `test_split`"
        )


def _to_indices(
    values: list[NDArray[Any]], names: tuple[str, ...] | None, source: str
) -> tuple[list[Labels], tuple[str, ...]]:
    """Turn stored labels into 0..K-1.

    Args:
        values: of the training split and of the test split if there is one, each of shape [N].
        names: class names, if whole numbers are already indices into them.
        source: name of the set, for messages.

    Returns:
        int64 labels of each split, and the class names; without `names` the sorted values of the training split.

    Raises:
        DataError: a number has no name, or the test split has other values than the training split.
    """
    kinds = [split.dtype.kind for split in values]
    if len(set(kinds)) > 1:
        raise DataError(
            f"{source}: labels are {_KINDS[kinds[0]]} in the training split and {_KINDS[kinds[1]]} in the test split; "
            "write them alike"
        )
    if names is not None and kinds[0] == "i":
        for split in values:
            if split.min() < 0 or split.max() >= len(names):
                raise DataError(
                    f"{source}: a label is outside 0..{len(names) - 1} (lowest {split.min()}, highest {split.max()}), "
                    f"which are the {len(names)} class names that it declares; correct one or the other"
                )
        return values, names
    known = np.unique(values[0])
    for split in values[1:]:
        strangers = np.setdiff1d(split, known)
        if len(strangers):
            raise DataError(f"{source}: the test split has a class that train lacks: {strangers[0]!s}")
    return [np.searchsorted(known, split).astype(np.int64) for split in values], tuple(map(str, known.tolist()))

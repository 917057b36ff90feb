"""The parts of a set with their labels as stored: which are its splits, and which class each label stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import EncodedSplit, Item, Labels, LoadOptions, RawDataset
from atom_distill.data.sources.splits import TRAIN, choose_splits, split_of, stratified_split

_KINDS = {"i": "whole numbers", "b": "true and false", "U": "texts"}
_SHOWN = 5
_Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class StoredLabels:
    """Labels as they are stored.

    Attributes:
        values: int64, bool or text, shape [N]; without meaning in rows that have no label.
        missing: rows that have no label, shape [N].
        names: of the classes, if they are declared; whole numbers are indices into them.
    """

    values: NDArray[Any]
    missing: _Mask
    names: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, values: NDArray[Any], missing: _Mask | None = None, names: tuple[str, ...] | None = None
    ) -> StoredLabels:
        """Return labels of any numbers, texts or truth values, shape [N]; no number and no text mean no label.

        Where names are declared, -1 means no label as well.

        Raises:
            ValueError: numbers are not whole, texts are not UTF-8, or the values are of another kind.
        """
        missing = np.zeros(len(values), bool) if missing is None else missing
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
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
        if kind not in "iuf":
            return cls(values, missing)
        labels = cls(values.astype(np.int64), missing, names)
        return labels.without(-1) if names else labels

    def without(self, number: int) -> StoredLabels:
        """Return the same labels with one number read as no label."""
        return replace(self, missing=self.missing | (self.values == number))

    def renumbered(self, names: tuple[str, ...], where: str) -> StoredLabels:
        """Return the same labels as indices into other class names; without names of their own they are that already.

        Raises:
            DataError: a number has no name, or a class is not among the names; `where` begins the message.
        """
        own = self.names or names
        used = np.unique(self.values[~self.missing])
        if len(used) and (used[0] < 0 or used[-1] >= len(own)):
            raise DataError(
                f"{where}: a label is outside 0..{len(own) - 1} (lowest {used[0]}, highest {used[-1]}), "
                f"which are the {len(own)} class names that it declares; correct one or the other"
            )
        numbers = {name: number for number, name in enumerate(names)}
        if own != names and any(len(set(each)) < len(each) for each in (own, names)):
            raise DataError(f"{where}: files declare class names differently, and a name twice; give each its own name")
        strangers = [own[number] for number in used if own[number] not in numbers]
        if strangers:
            raise DataError(
                f"{where}: the test split has a class that train lacks: {strangers[0]} (train has {_some(names)}); "
                "name the classes alike, or remove its rows"
            )
        table = np.arange(len(own)) if own == names else np.array([numbers.get(name, -1) for name in own])
        return StoredLabels(table[np.where(self.missing, 0, self.values)], self.missing, names)


def join(pieces: list[StoredLabels], where: str) -> StoredLabels:
    """Return the labels of the files of one part; where these declare class names, each label keeps its name.

    Raises:
        DataError: the labels are of several types, or only some files declare names; `where` begins the message.
    """
    pieces = [piece for piece in pieces if len(piece.values)] or [StoredLabels.of(np.empty(0, np.int64))]
    if len({piece.values.dtype.kind for piece in pieces}) > 1:
        raise DataError(f"{where}: the files are of several types; write them alike")
    declared = list(dict.fromkeys(piece.names for piece in pieces))
    names = declared[0]
    if len(declared) > 1:
        if None in declared:
            raise DataError(f"{where}: some files declare class names and others none; write them alike")
        names = tuple(dict.fromkeys(name for some in declared for name in some or ()))
        pieces = [piece.renumbered(names, where) for piece in pieces]
    values, missing = ([getattr(piece, field) for piece in pieces] for field in ("values", "missing"))
    return StoredLabels(np.concatenate(values), np.concatenate(missing), names)


@dataclass(frozen=True)
class Part:
    """A part of a set, which may become a split.

    Attributes:
        labels: one for each image; None if the part has none.
        items: returns all of its images in order; it may be called more than once.
    """

    labels: StoredLabels | None
    items: Callable[[], Iterator[Item]]

    def only(self, wanted: _Mask) -> Part:
        """Return the part with some of its images; `wanted` has shape [N]."""
        labels = self.labels and replace(
            self.labels, values=self.labels.values[wanted], missing=self.labels.missing[wanted]
        )
        return Part(labels, lambda: compress(self.items(), wanted))


def assemble(parts: dict[str, Part], names: tuple[str, ...] | None, source: str, options: LoadOptions) -> RawDataset:
    """Choose the splits among the labeled parts of a set, and number its classes.

    Args:
        parts: by name, e.g. "train" and "validation"; those without labels are left out, and a note says so.
        names: of the classes, instead of those that the training split declares; where there are neither, the sorted
            training labels are the names.
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
        note(f"{source}: not used, because they have no labels: {', '.join(unlabeled)}")
    chosen = choose_splits(labeled, source, options)
    if unlabeled and chosen.test:
        note(f"{source}: the test split is {chosen.test}")
    used = [name for name in chosen if name is not None]
    for name in used:
        _require_labels(labels.get(name), f"{source} ({name})")
    numbers, names = _to_indices([labels[name] for name in used], names, source)
    train, *test = (EncodedSplit(found, parts[name].items) for found, name in zip(numbers, used, strict=True))
    if test:
        return RawDataset(train, test[0], names, source, names_declared=True)
    rows = stratified_split(train.labels, options.test_fraction or 0.0, options.seed)
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
        declared = names or split.names
        if split_of(name) == TRAIN and declared is None and set(np.unique(split.values).tolist()) == {-1, 1}:
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
    labels: list[StoredLabels], names: tuple[str, ...] | None, source: str
) -> tuple[list[Labels], tuple[str, ...]]:
    """Turn stored labels into 0..K-1.

    Args:
        labels: of the training split and of the test split if there is one; none is missing.
        names: of the classes, instead of those that the training split declares.
        source: name of the set, for messages.

    Returns:
        int64 labels of each split, and the class names; where none are declared, the sorted values of the training
        split.

    Raises:
        DataError: a number has no name, or the test split has other classes than the training split.
    """
    kinds = [split.values.dtype.kind for split in labels]
    if len(set(kinds)) > 1:
        raise DataError(
            f"{source}: labels are {_KINDS[kinds[0]]} in the training split and {_KINDS[kinds[1]]} in the test split; "
            "write them alike"
        )
    declared = labels[0].names or names
    if kinds[0] == "i" and declared is not None:
        if names is not None and len(names) != len(declared):
            raise DataError(f"{source} declares {len(declared)} classes, and {len(names)} are known; fetch it again")
        return [split.renumbered(declared, source).values for split in labels], names or declared
    for split in labels[1:]:
        if split.names is not None:
            raise DataError(
                f"{source}: the test split declares class names ({_some(split.names)}) and the training split none, "
                "so their classes cannot be matched; declare the names for both"
            )
    known = np.unique(labels[0].values)
    for split in labels[1:]:
        strangers = np.setdiff1d(split.values, known)
        if len(strangers):
            raise DataError(f"{source}: the test split has a class that train lacks: {strangers[0]!s}")
    return [np.searchsorted(known, split.values).astype(np.int64) for split in labels], tuple(map(str, known.tolist()))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")

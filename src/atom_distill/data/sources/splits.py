"""Which part of a set is its training split and which its test split; splitting off test images where there is none."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.progress import note
from atom_distill.base.seeding import derive_seed
from atom_distill.data.cache.raw import Labels, LoadOptions

TRAIN = "train"
_TEST_ROLES = ("test", "val", "dev", "eval")  # in order of preference
_ROLES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("dev", "devel", "development"), "dev"),
    **dict.fromkeys(("eval", "evaluation"), "eval"),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # "TestImages" has two, and so has "val2017-images"


class Splits(NamedTuple):
    """The names of the training split and of the test split; None if there is no test split."""

    train: str
    test: str | None


def split_of(name: str) -> str | None:
    """Return which split a name stands for: "train", "test", "val", "dev" or "eval"; None if it is no split's name.

    Whole words count, whatever their case: "Train", "training_set", "val2017" and "cifar10-test-00000-of-00001" are
    names of splits; "trainstation" and "train_val" are not.
    """
    roles = {_ROLES[word] for word in map(str.lower, _WORD.findall(name)) if word in _ROLES}
    return roles.pop() if len(roles) == 1 else None


def is_plain(name: str) -> bool:
    """Return whether a name is that of a split and nothing else, in any case."""
    return name.lower() in _ROLES


def choose_splits(names: Collection[str], source: str, options: LoadOptions) -> Splits:
    """Choose the training and the test split among the labeled parts of a set, and tell which parts are not used.

    Args:
        names: of the parts that hold labeled images.
        source: name of the set, for messages.
        options: `test_split` names the test split; with `test_fraction` there must be none.

    Raises:
        DataError: no part, or more than one, is the training or the test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    train = _one_of(names, TRAIN, source)
    if train is None:
        raise DataError(
            f"{source} has no train split, only {', '.join(sorted(names))}; rename the training split to train"
        )
    others = [name for name in names if name != train]
    if options.test_split is not None:
        test: str | None = _named(options.test_split, others, source)
    else:
        test = next((found for role in _TEST_ROLES if (found := _one_of(others, role, source)) is not None), None)
    if test is not None and options.test_fraction is not None:
        raise needless_fraction(source)
    if test is None and options.test_fraction is None:
        raise no_test_split(source, others)
    unused = sorted(set(others) - {test})
    if unused:
        note(f"{source}: not used: {', '.join(unused)} (train on {train}, test on {test or 'a share of it'})")
    return Splits(train, test)


def _one_of(names: Collection[str], role: str, source: str) -> str | None:
    """Return the name that stands for a split; that which is spelled plainly wins."""
    fitting = [name for name in names if split_of(name) == role]
    plain = list(filter(is_plain, fitting))
    chosen = plain or fitting
    if len(chosen) > 1:
        way_out = "rename all but one" if role == TRAIN else f"choose one with `test_split={sorted(chosen)[0]}`"
        raise DataError(f"{source} has {len(chosen)} {role} splits ({', '.join(sorted(chosen))}); {way_out}")
    return chosen[0] if chosen else None


def _named(wanted: str, names: Collection[str], source: str) -> str:
    for fits in (wanted.__eq__, lambda name: name.lower() == wanted.lower()):
        fitting = list(filter(fits, names))
        if len(fitting) == 1:
            return fitting[0]
    there = ", ".join(sorted(names)) or "no other"
    raise DataError(f"{source} has no labeled split {wanted!r} beside the training split; there is: {there}")


def stratified_split(labels: Labels, fraction: float, seed: int) -> tuple[Labels, Labels]:
    """Draw the same share of every class as test images, at least one and never all of them.

    The only image of a class becomes a training image: the class may be one that is left out.

    Args:
        labels: int64, shape [N].
        fraction: share of the test split, in (0, 1).
        seed: chooses which images.

    Returns:
        Indices of the training and of the test images, int64, ascending.

    Raises:
        ConfigError: the fraction is outside (0, 1).
        DataError: no class has two images.
    """
    check_fraction(fraction)
    test = []
    for label in np.flatnonzero(np.bincount(labels) > 1).tolist():
        members = np.flatnonzero(labels == label)
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        # RandomState, since numpy promises that its stream stays the same in every version
        random = np.random.RandomState(derive_seed(seed, "test split", label) % 2**32)
        test.append(random.permutation(members)[:count])
    if not test:
        raise DataError("no class has 2 images, and `test_fraction` needs one to train and one to test")
    chosen = np.zeros(len(labels), bool)
    chosen[np.concatenate(test)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def check_fraction(fraction: float) -> None:
    """Raise an error unless a test fraction is in (0, 1).

    Raises:
        ConfigError: it is not.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"`test_fraction` must be between 0 and 1 (say 0.2), got {fraction}")


def no_test_split(source: str, others: Collection[str] = ()) -> DataError:
    """Return the error for a set without a test split; `others` are parts of it whose names say nothing."""
    found = (
        f"; if one of {', '.join(sorted(others))} is the test split, pass its name as `test_split`" if others else ""
    )
    return DataError(
        f"{source} has no labeled test split (looked for {', '.join(_TEST_ROLES)}){found}; "
        "add one, or pass `test_fraction=0.2` to set aside a fifth of each class"
    )


def needless_fraction(source: str) -> ConfigError:
    """Return the error for a test fraction of a set that has a test split."""
    return ConfigError(f"{source} has a test split of its own; leave out `test_fraction`")

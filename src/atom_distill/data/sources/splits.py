"""Splitting off test images from a set that has no test split."""

from __future__ import annotations

import numpy as np

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.seeding import derive_seed
from atom_distill.data.cache.raw import Labels

SPLIT_NAMES = ("test", "val", "valid", "validation")
"""Names of a test split, in order of preference."""


def stratified_split(labels: Labels, fraction: float, seed: int, class_names: tuple[str, ...]) -> tuple[Labels, Labels]:
    """Draw the same share of every class as test images, at least one and never all of them.

    Args:
        labels: int64, shape [N].
        fraction: share of the test split, in (0, 1).
        seed: chooses which images.
        class_names: index = label, for messages.

    Returns:
        Indices of the training and of the test images, int64, ascending.

    Raises:
        ConfigError: the fraction is outside (0, 1).
        DataError: a class has fewer than two images.
    """
    check_fraction(fraction)
    test = []
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"class {name!r} has {len(members)} image{'s' if len(members) != 1 else ''}; "
                "`test_fraction` needs at least 2 per class, one to train and one to test"
            )
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        # RandomState, since numpy promises that its stream stays the same in every version
        random = np.random.RandomState(derive_seed(seed, "test split", label) % 2**32)
        test.append(random.permutation(members)[:count])
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


def no_test_split(name: str) -> DataError:
    """Return the error for a set without a test split."""
    return DataError(
        f"{name} has no test split (looked for {', '.join(SPLIT_NAMES)}); "
        "add one, or pass `test_fraction=0.2` to set aside a fifth of each class"
    )


def needless_fraction(name: str) -> ConfigError:
    """Return the error for a test fraction of a set that has a test split."""
    return ConfigError(f"{name} has a test split of its own; leave out `test_fraction`")

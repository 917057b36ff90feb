"""Scikit-learn's handwritten digits: 1797 gray images of 8x8, part of the library, so no network is needed."""

from __future__ import annotations

import numpy as np

from atom_distill.data.cache import store
from atom_distill.data.cache.raw import ArraySplit, RawDataset
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.splits import stratified_split

_TEST_FRACTION = 0.2
_SEED = 0  # fixed: the test split of a named set must not depend on the seed of a run


def load_digits() -> ImageDataset:
    """Return the digits with a fixed stratified split, 4 to 1; pixel values 0..16 become 0..255."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    names = tuple(str(digit) for digit in range(10))
    rows = stratified_split(labels, _TEST_FRACTION, _SEED)
    train, test = (ArraySplit(images[chosen], labels[chosen]) for chosen in rows)
    return store.in_memory(RawDataset(train, test, names, "scikit-learn load_digits"), "digits")

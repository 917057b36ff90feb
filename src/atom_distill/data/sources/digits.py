"""Scikit-learn's handwritten digits: 1797 gray images of 8x8, part of the library, so no network is needed."""

from __future__ import annotations

import numpy as np
import torch

from atom_distill.data.cache.store import fingerprint_of
from atom_distill.data.dataset import ImageDataset, Split
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
    train, test = stratified_split(labels, _TEST_FRACTION, _SEED, names)
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return ImageDataset(
        name="digits",
        train=Split(torch.from_numpy(images[train]), torch.from_numpy(labels[train])),
        test=Split(torch.from_numpy(images[test]), torch.from_numpy(labels[test])),
        class_names=names,
        source="scikit-learn load_digits",
        fingerprint=fingerprint_of(arrays, names),
    )

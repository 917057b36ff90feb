from __future__ import annotations

import numpy as np
import pytest

from atom_distill.base.errors import DataError
from atom_distill.data.sources.splits import stratified_split

NAMES = ("many", "two")


@pytest.mark.parametrize(("fraction", "want"), [(0.01, [1, 1]), (0.3, [6, 1]), (0.99, [19, 1])])
def test_each_class_keeps_an_image_on_either_side(fraction, want):
    labels = np.array([0] * 20 + [1] * 2)
    train, test = stratified_split(labels, fraction, 0, NAMES)
    assert np.bincount(labels[test]).tolist() == want
    assert sorted([*train, *test]) == list(range(22))
    assert train.tolist() == sorted(train)
    assert test.tolist() == sorted(test)


def test_the_draw_is_fixed_for_all_time():
    labels = np.array([0] * 20 + [1] * 2)
    assert stratified_split(labels, 0.2, 0, NAMES)[1].tolist() == [4, 10, 16, 18, 21]


def test_a_class_of_one_image_is_named():
    with pytest.raises(DataError, match="class 'two' has 1 image; `test_fraction` needs at least 2"):
        stratified_split(np.array([0, 0, 1]), 0.5, 0, NAMES)

"""The hash of what a data set holds, whatever the order of its images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atom_distill.data.cache import store
from atom_distill.data.cache.contents import contents_of
from atom_distill.data.cache.raw import ArraySplit, LoadOptions, RawDataset
from atom_distill.data.subset import hold_out, only_classes

NAMES = ("cat", "dog")


def split(seed: int, count: int = 12) -> ArraySplit:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return ArraySplit(random.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8), labels)


def shuffled(part: ArraySplit, seed: int) -> ArraySplit:
    order = np.random.default_rng(seed).permutation(len(part.labels))
    return ArraySplit(part.images[order], part.labels[order])


def of(train: ArraySplit, test: ArraySplit, names: tuple[str, ...] = NAMES) -> str:
    return contents_of([(part.images, part.labels) for part in (train, test)], names)


def test_the_order_of_images_does_not_matter():
    train, test = split(0), split(1)
    for seed in range(5):
        assert of(shuffled(train, seed), shuffled(test, seed)) == of(train, test)


def test_everything_else_does():
    train, test = split(0), split(1)
    one_value = train.images.copy()
    one_value[3, 2, 1, 0] ^= 1
    one_label = train.labels.copy()
    one_label[3] = 1 - one_label[3]
    twice = ArraySplit(train.images[[0, *range(11)]], train.labels[[0, *range(11)]])
    others = [
        of(ArraySplit(one_value, train.labels), test),
        of(ArraySplit(train.images, one_label), test),
        of(ArraySplit(train.images, 1 - train.labels), test),
        of(twice, test),
        of(test, train),
        of(ArraySplit(train.images[:-1], train.labels[:-1]), test),
        of(train, test, NAMES[::-1]),
    ]
    assert len({of(train, test), *others}) == len(others) + 1


def test_a_cached_set_has_it_as_one_in_memory_does(tmp_path):
    train, test = split(0), split(1)
    slot = store.Slot(tmp_path / "toy", "toy")
    saved = store.save(RawDataset(train, test, NAMES, "made"), slot, LoadOptions())
    in_memory = store.in_memory(RawDataset(shuffled(train, 0), test, NAMES, "made"), "toy")
    assert saved.contents == store.load(slot).contents == in_memory.contents == of(train, test)
    assert saved.fingerprint != in_memory.fingerprint
    assert saved.identity()["contents"] == saved.contents


def test_parts_of_a_set_have_another_or_none():
    whole = store.in_memory(RawDataset(split(0), split(1), NAMES, "made"), "toy")
    assert only_classes(whole, ["dog", "cat"]).contents not in ("", whole.contents)
    assert only_classes(replace(whole, contents=""), ["dog", "cat"]).contents == ""
    assert hold_out(whole, 0.5, 0).contents == ""


@pytest.mark.parametrize("count", [1, 1000])
def test_it_is_found_a_second_way(count):
    """Two sets have the same hash if, and only if, their counts of labeled images are the same."""
    random = np.random.default_rng(count)
    labels = random.integers(0, 2, count)
    images = random.integers(0, 2, (count, 1, 2, 2), dtype=np.uint8)  # many are equal
    first, second = ArraySplit(images, labels), shuffled(ArraySplit(images, labels), 1)
    changed = ArraySplit(second.images.copy(), second.labels)
    changed.images[0, 0, 0, 0] ^= 1

    def counted(part: ArraySplit) -> list[tuple[bytes, int]]:
        return sorted((image.tobytes(), int(label)) for image, label in zip(part.images, part.labels, strict=True))

    for other in (second, changed):
        assert (of(first, first) == of(other, other)) == (counted(first) == counted(other))

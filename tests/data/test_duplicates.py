"""Duplicates across splits and classes, and sets that come out dark."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.data.darkness import darkness, largest_value
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.describe import describe
from atom_distill.data.duplicates import find_duplicates


def dataset(train: np.ndarray, train_labels: list[int], test: np.ndarray, test_labels: list[int]) -> ImageDataset:
    splits = (
        Split(torch.from_numpy(images), torch.tensor(labels))
        for images, labels in ((train, train_labels), (test, test_labels))
    )
    return ImageDataset("toy", *splits, ("cat", "dog", "eel"), "made here", "0")


@pytest.fixture
def copies() -> ImageDataset:
    """Six training and four test images: test 1 is train 2, train 5 is train 0, and test 3 is test 0."""
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 5, 4)).astype(np.uint8)
    train, test = images[:6].copy(), images[6:].copy()
    train[5], test[1], test[3] = train[0], train[2], test[0]
    return dataset(train, [0, 1, 0, 1, 2, 2], test, [1, 0, 2, 1])


def places(groups) -> list[list[tuple[str, int, str]]]:
    return [[(each.split, each.index, each.class_name) for each in group] for group in groups]


def test_both_kinds_are_found_with_their_places(copies):
    found = find_duplicates(copies, show_progress=False)
    assert places(found.across_splits) == [[("train", 2, "cat"), ("test", 1, "cat")]]
    assert places(found.across_classes) == [[("train", 0, "cat"), ("train", 5, "eel")]]


def test_every_pair_of_a_large_set_is_found():
    random = np.random.default_rng(1)
    images = random.integers(0, 3, (3000, 1, 2, 2)).astype(np.uint8)  # 81 different images at most
    labels = random.integers(0, 3, 3000).tolist()
    found = find_duplicates(dataset(images[:2500], labels[:2500], images[2500:], labels[2500:]), show_progress=False)
    groups: dict[bytes, list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(image.tobytes(), []).append(position)
    across_splits = [group for group in groups.values() if group[0] < 2500 <= group[-1]]
    across_classes = [group for group in groups.values() if len({labels[each] for each in group}) > 1]
    assert len(across_splits) > 50
    flat = [[each.index + 2500 * (each.split == "test") for each in group] for group in found.across_splits]
    assert flat == across_splits
    flat = [[each.index + 2500 * (each.split == "test") for each in group] for group in found.across_classes]
    assert flat == across_classes


def test_a_set_without_duplicates_and_views_of_memory():
    images = np.arange(240, dtype=np.uint8).reshape(10, 4, 2, 3).transpose(0, 3, 1, 2)  # not contiguous
    found = find_duplicates(dataset(images[:6], [0, 1, 2, 0, 1, 2], images[6:], [0, 1, 2, 0]), show_progress=False)
    assert found.across_splits == found.across_classes == ()


def test_they_are_part_of_the_description(copies):
    facts = describe(copies)
    assert facts["duplicates"]["across_splits"] == {
        "images": 1,
        "examples": [[{"split": "train", "index": 2, "class": "cat"}, {"split": "test", "index": 1, "class": "cat"}]],
    }
    assert facts["duplicates"]["across_classes"]["images"] == 1
    assert facts["largest"] == copies.train.images.max()
    assert facts["dark"] is None


@pytest.mark.parametrize(("bits", "factor"), [(10, 64), (12, 16), (14, 4), (15, 2)])
def test_values_of_fewer_than_sixteen_bits_are_recognized(bits, factor):
    decoded = (2**bits - 1 + 128) // 257  # as 16-bit images are decoded
    told = darkness(decoded)
    assert f"no pixel is above {decoded} of 255" in told
    assert f"{bits}-bit values" in told
    assert f"by {factor} " in told


def test_light_and_black_sets():
    assert darkness(255) is None
    assert darkness(128) is None  # 16 bits are needed for it
    assert darkness(0) == "all pixels are black"
    assert largest_value(np.array([[[[3, 200]], [[7, 0]]]], np.uint8)) == 200

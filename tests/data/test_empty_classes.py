"""Label names without images, as `ds.filter(...)` leaves them: left out, unless other images are of that class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import torch
from PIL import Image

from atom_distill.api import distill
from atom_distill.base.errors import DataError
from atom_distill.data.load import load_dataset
from atom_distill.data.subset import with_images
from distillation.toys import toy_dataset

NAMES = ("ant", "bee", "cow", "dog")


def save(folder: Path, train: list[int], test: list[int] | None) -> Path:
    """A set whose image i of the training split is all i, and of the test split all 100 + i."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})

    def split(labels: list[int], start: int) -> datasets.Dataset:
        pictures = [Image.new("RGB", (4, 4), (start + index, 0, 0)) for index in range(len(labels))]
        return datasets.Dataset.from_dict({"image": pictures, "label": labels}, features=features)

    parts = {"train": split(train, 0)} | ({} if test is None else {"test": split(test, 100)})
    datasets.DatasetDict(parts).save_to_disk(folder)
    return folder


def test_a_name_without_images_is_left_out_and_said_each_time(tmp_path, capsys):
    folder = save(tmp_path / "set", [3, 1, 3, 1, 1], [1, 3])
    for _ in range(2):  # decoded, and from the cache
        dataset = load_dataset(folder)
        assert dataset.class_names == ("bee", "dog")
        assert dataset.train.labels.tolist() == [1, 0, 1, 0, 0]
        assert dataset.test.labels.tolist() == [0, 1]
        assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
        assert "'ant', 'cow'" in capsys.readouterr().err
    assert load_dataset(**dataset.request).fingerprint == dataset.fingerprint


def test_a_test_fraction_passes_over_it(tmp_path):
    dataset = load_dataset(save(tmp_path / "set", [1, 3] * 4, None), test_fraction=0.25)
    assert dataset.class_names == ("bee", "dog")
    assert (dataset.class_sizes().tolist(), len(dataset.test)) == ([3, 3], 2)


def test_chosen_classes_are_chosen_before_the_check(tmp_path, capsys):
    folder = save(tmp_path / "set", [3, 1, 3, 1], [1, 3, 0])
    with pytest.raises(DataError, match=r"class 'ant' has no training images.*`classes`"):
        load_dataset(folder)  # its test images would go unnoticed
    capsys.readouterr()
    dataset = load_dataset(folder, classes=("dog", "bee"))
    assert (dataset.class_names, len(dataset.test)) == (("dog", "bee"), 2)
    assert capsys.readouterr().err == ""


def test_one_class_with_images_is_too_few(tmp_path):
    with pytest.raises(DataError, match="'ant', 'bee', 'cow' has no training images"):
        load_dataset(save(tmp_path / "set", [3, 3], [3]))


def test_a_set_made_by_hand_must_have_images_of_each_class():
    with pytest.raises(DataError, match="class 'class 1' has no training images"):
        distill(toy_dataset((3, 0, 3)), ipc=1, method="random")


def test_classes_of_one_name_are_told_apart():
    toy = toy_dataset((2, 0, 3, 2))
    toy = replace(toy, test=toy.train, names_declared=True)
    twice = replace(toy, class_names=("crane", "crane", "dog", "eel"))
    assert twice.class_names == ("crane (0)", "crane (1)", "dog", "eel")
    dataset = with_images(twice)
    assert dataset.class_names == ("crane (0)", "dog", "eel")
    assert dataset.class_sizes().tolist() == [2, 3, 2]
    assert torch.equal(dataset.train.images, toy.train.images)

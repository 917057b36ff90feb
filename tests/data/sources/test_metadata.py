"""Splits, classes and columns of the metadata files of image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.data.load import load_dataset


@pytest.fixture
def described(tmp_path: Path, save_image) -> Callable[..., Path]:
    """Write images 0.png, 1.png, ..., whose red tells the number, and a metadata.csv with more columns for them."""

    def write(header: str, *rows: str) -> Path:
        for number in range(len(rows)):
            save_image(tmp_path / "set" / f"{number}.png", color=(number, 0, 0))
        lines = [f"file_name,{header}", *(f"{number}.png,{row}" for number, row in enumerate(rows))]
        (tmp_path / "set" / "metadata.csv").write_text("\n".join(lines))
        return tmp_path / "set"

    return write


def test_a_row_without_a_split_among_others_is_refused(described):
    with pytest.raises(DataError, match="row 3 lacks one split, such as train; complete or remove it"):
        load_dataset(described("label,split", "a,train", "b,train", "a,", "a,test", "b,test"))


def test_rows_of_another_split_are_told(described, capsys):
    dataset = load_dataset(described("label,split", "a,train", "b,train", "a,tarin", "a,test", "b,test"))
    assert (len(dataset.train), len(dataset.test)) == (2, 2)
    assert "not used: tarin" in capsys.readouterr().err


def test_a_split_of_any_name_can_be_the_test_split(described):
    folder = described("label,split", "a,train", "b,train", "a,fold 5", "b,fold 5")
    assert len(load_dataset(folder, test_split="Fold 5").test) == 2
    assert load_dataset(folder, test_split="fold 5").test.images[:, 0, 0, 0].tolist() == [2, 3]


def test_a_column_without_any_split_is_not_used(described):
    folder = described("label,split", *("a,left", "b,right") * 2)
    assert len(load_dataset(folder, test_fraction=0.5).test) == 2


def test_whole_numbers_are_sorted_as_such(described):
    numbers = [str(number) for number in range(12)]
    dataset = load_dataset(described("label", *numbers * 2), test_fraction=0.5)
    assert dataset.class_names == tuple(numbers)
    assert (dataset.train.images[:, 0, 0, 0] % 12).tolist() == dataset.train.labels.tolist()
    names = load_dataset(described("label", *[*numbers, "x"] * 2), test_fraction=0.5).class_names
    assert names == tuple(sorted([*numbers, "x"]))


@pytest.mark.parametrize("column", ["Breed", "breed"])
def test_a_column_as_it_is_spelled_in_the_file(described, column):
    folder = described("Breed,label", *("pug,dog", "tabby,cat") * 2)
    assert load_dataset(folder, test_fraction=0.5, label_column=column).class_names == ("pug", "tabby")


def test_images_in_files_have_no_column(described):
    folder = described("label", *"abab")
    with pytest.raises(ConfigError, match="holds image files; leave out `image_column`"):
        load_dataset(folder, test_fraction=0.5, image_column="label")

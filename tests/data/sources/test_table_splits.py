"""Which of several tables, or rows of one, are which split."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.data.load import load_dataset
from atom_distill.data.sources.labeled_parts import StoredLabels
from data.sources.tables import hf_set, png, reds, save, write


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-00000-of-00001", "data/test-00000-of-00001"),
        ("plain_text/train/0000", "plain_text/test/0000"),
        ("Train", "Test"),
        ("training", "testing"),
        ("cifar10-train", "cifar10-test"),
        ("train_0", "dev_0"),
        ("train/train-a", "eval/b"),
    ],
)
def test_names_of_parquet_files(tmp_path, train, test):
    write(tmp_path / f"set/{train}.parquet", [1, 2], [0, 1])
    write(tmp_path / f"set/{test}.parquet", [3, 4], [1, 0])
    dataset = load_dataset(tmp_path / "set")
    assert (reds(dataset.train), reds(dataset.test)) == ([1, 2], [3, 4])


def test_parquet_files_that_are_not_used_are_named(tmp_path, capsys):
    for position, name in enumerate(("train-0", "train-1", "test", "dev", "trainstation-00000-of-00001", "others10")):
        write(tmp_path / f"set/{name}.parquet", [2 * position, 2 * position + 1], [0, 1])
    dataset = load_dataset(tmp_path / "set")
    assert (reds(dataset.train), reds(dataset.test)) == ([0, 1, 2, 3], [4, 5])
    assert "not used: dev, others10, trainstation (" in capsys.readouterr().err
    assert reds(load_dataset(tmp_path / "set", test_split="trainstation").test) == [8, 9]


def test_parquet_files_of_two_configurations(tmp_path):
    for name in ("small/train", "small/test", "large/train", "large/test"):
        write(tmp_path / f"set/{name}.parquet", [1, 2], [0, 1])
    with pytest.raises(DataError, match=r"test in several folders \(.*large and .*small\)"):
        load_dataset(tmp_path / "set")
    assert len(load_dataset(tmp_path / "set/large").train) == 2


def test_a_single_file_is_the_whole_set_whatever_its_name(tmp_path):
    write(tmp_path / "validation.parquet", [1, 2, 3, 4], [0, 1, 0, 1])
    assert len(load_dataset(tmp_path / "validation.parquet", test_fraction=0.5).test) == 2


def write_with_splits(path: Path, splits: list, kind: pa.DataType | None = None, column: str = "split") -> Path:
    count = len(splits)
    cells = {"image": [png(red) for red in range(count)], column: pa.array(splits, kind)}
    pq.write_table(pa.table(cells | {"breed": ["a", "b"] * (count // 2)}), path)
    return path


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize("test_name", ["test", "Validation"])
def test_a_column_of_splits(tmp_path, kind, test_name):
    splits = ["train", test_name, "train", "train", "train", test_name]
    path = write_with_splits(tmp_path / "one.parquet", splits, kind)
    dataset = load_dataset(path)
    assert (reds(dataset.train), dataset.train.labels.tolist()) == ([0, 2, 3, 4], [0, 0, 1, 0])
    assert (reds(dataset.test), dataset.test.labels.tolist()) == ([1, 5], [1, 1])
    with pytest.raises(ConfigError, match="test split of its own"):
        load_dataset(path, test_fraction=0.5)


def test_a_column_of_splits_chooses_among_three(tmp_path, capsys):
    path = write_with_splits(tmp_path / "one.parquet", ["train", "train", "test", "test", "val", "val"], column="Split")
    assert reds(load_dataset(path).test) == [2, 3]
    assert reds(load_dataset(path, test_split="val").test) == [4, 5]
    assert "splits are those in column Split: test, train, val" in capsys.readouterr().err


def test_a_column_of_splits_of_the_datasets_library(tmp_path):
    column = datasets.Dataset.from_dict(
        {"split": [1, 1, 0, 1]}, features=datasets.Features({"split": datasets.ClassLabel(names=["test", "train"])})
    )
    datasets.concatenate_datasets([hf_set([1, 2, 3, 4], [1, 0, 1, 0]), column], axis=1).save_to_disk(tmp_path / "saved")
    dataset = load_dataset(tmp_path / "saved")
    assert (reds(dataset.train), reds(dataset.test)) == ([1, 2, 4], [3])
    assert (dataset.class_names, dataset.test.labels.tolist()) == (("cat", "dog"), [1])


@pytest.mark.parametrize("splits", [["fold a", "fold b"] * 2, [0, 1] * 2, ["test"] * 4])
def test_a_column_that_tells_no_splits(tmp_path, splits, capsys):
    path = write_with_splits(tmp_path / "one.parquet", splits)
    assert len(load_dataset(path, test_fraction=0.5).test) == 2
    assert ("column split is not used" in capsys.readouterr().err) == (splits[0] != "test")


def test_an_empty_cell_in_a_column_of_splits(tmp_path):
    path = write_with_splits(tmp_path / "one.parquet", ["train", None, "train", "test"])
    with pytest.raises(DataError, match="'split' is empty in 1 rows; complete or remove"):
        load_dataset(path)


@pytest.mark.parametrize(("train", "test"), [("Train", "dev"), ("training", "Test"), ("train_set", "eval")])
def test_names_of_saved_splits(tmp_path, train, test):
    path = save(tmp_path / "saved", **{train: hf_set([1, 2], [1, 0]), test: hf_set([3], [1])})
    dataset = load_dataset(path)
    assert (reds(dataset.train), reds(dataset.test)) == ([1, 2], [3])


def test_the_test_split_of_a_saved_set_is_chosen(tmp_path, capsys):
    path = save(tmp_path / "saved", train=hf_set([1, 2], [1, 0]), test=hf_set([3], [1]), extra=hf_set([4], [0]))
    assert reds(load_dataset(path, test_split="extra").test) == [4]
    assert "not used: test" in capsys.readouterr().err


def test_a_damaged_saved_set(tmp_path):
    hf_set([1, 2], [0, 1]).save_to_disk(tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(np.zeros(3).tobytes())
    with pytest.raises(DataError, match="not a readable saved Hugging Face data set"):
        load_dataset(tmp_path / "saved", test_fraction=0.5)


def test_equal_class_names_in_another_order_are_refused():
    labels = StoredLabels.of(np.array([0, 1]), names=("crane", "crane", "dog"))
    assert labels.renumbered(("crane", "crane", "dog"), "test").values.tolist() == [0, 1]
    with pytest.raises(DataError, match="declare class names differently, and a name twice"):
        labels.renumbered(("dog", "crane", "crane"), "test")

"""Tables of images: files, rows and class names."""

from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.data.load import load_dataset
from data.sources.tables import hf_set, png, reds, save, write


@pytest.mark.parametrize("struct", [True, False])
@pytest.mark.parametrize("test_name", ["test-00000-of-00001", "validation-00000-of-00001", "val"])
def test_a_folder_of_parquet_files(tmp_path, struct, test_name):
    write(tmp_path / "set/data/train-00000-of-00002.parquet", [1, 2], [0, 1], struct=struct)
    write(tmp_path / "set/data/train-00001-of-00002.parquet", [3], [1], struct=struct)
    write(tmp_path / f"set/data/{test_name}.parquet", [4, 5], [1, 0], struct=struct)
    dataset = load_dataset(tmp_path / "set")
    assert (reds(dataset.train), dataset.train.labels.tolist()) == ([1, 2, 3], [0, 1, 1])
    assert (reds(dataset.test), dataset.test.labels.tolist()) == ([4, 5], [1, 0])
    assert dataset.class_names == ("0", "1")


def test_texts_as_labels_are_sorted(tmp_path):
    write(tmp_path / "set/train.parquet", [1, 2, 3], ["dog", "cat", "dog"], label="category")
    write(tmp_path / "set/test.parquet", [4], ["cat"], label="category")
    dataset = load_dataset(tmp_path / "set")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.labels.tolist() == [1, 0, 1]
    assert dataset.test.labels.tolist() == [0]


def test_whole_numbers_need_not_be_contiguous(tmp_path):
    write(tmp_path / "one.parquet", list(range(8)), [3, 30] * 4)
    dataset = load_dataset(tmp_path / "one.parquet", test_fraction=0.25)
    assert dataset.name == "one"
    assert dataset.class_names == ("3", "30")
    assert len(dataset.test) == 2
    for split in (dataset.train, dataset.test):
        assert [red % 2 for red in reds(split)] == split.labels.tolist()  # odd images have label 30
    assert sorted(reds(dataset.train) + reds(dataset.test)) == list(range(8))


def test_a_single_table_needs_a_test_fraction(tmp_path):
    write(tmp_path / "one.parquet", [1, 2], [0, 1])
    with pytest.raises(DataError, match=r"no labeled test split.*`test_fraction=0\.2`"):
        load_dataset(tmp_path / "one.parquet")


def test_a_test_fraction_beside_a_test_table_is_refused(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / f"set/{split}.parquet", [1, 2], [0, 1])
    with pytest.raises(ConfigError, match="test split of its own"):
        load_dataset(tmp_path / "set", test_fraction=0.5)


def test_a_class_that_train_lacks(tmp_path):
    write(tmp_path / "set/train.parquet", [1, 2], ["a", "b"])
    write(tmp_path / "set/test.parquet", [1, 2], ["a", "c"])
    with pytest.raises(DataError, match="class that train lacks: c"):
        load_dataset(tmp_path / "set")


def test_rows_without_a_label(tmp_path):
    write(tmp_path / "one.parquet", [1, 2], ["a", None])
    with pytest.raises(DataError, match="rows without a label"):
        load_dataset(tmp_path / "one.parquet", test_fraction=0.5)


def test_a_table_without_an_image_column_lists_its_columns(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "one.parquet")
    with pytest.raises(DataError, match=r"needs one image column .*text \(string\), label \(int64\)"):
        load_dataset(tmp_path / "one.parquet", test_fraction=0.5)


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "one.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"one\.parquet is not a readable parquet file"):
        load_dataset(tmp_path / "one.parquet", test_fraction=0.5)


def test_damaged_names_of_columns(tmp_path):
    path = write(tmp_path / "one.parquet", [1, 2], [0, 1])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"width", b"wi\xffth"))
    with pytest.raises(DataError, match=r"one\.parquet is not a readable parquet file"):
        load_dataset(path, test_fraction=0.5)


def test_a_damaged_footer_is_one_line(tmp_path):
    path = write(tmp_path / "one.parquet", [1, 2], [0, 1])
    content = path.read_bytes()
    path.write_bytes(content[:-300] + b"\xff" * 292 + content[-8:])
    with pytest.raises(DataError, match="deserialize thrift") as caught:
        load_dataset(path, test_fraction=0.5)
    assert "\n" not in str(caught.value)


def test_an_unreadable_row_is_named_or_skipped(tmp_path):
    path = write(tmp_path / "set/train.parquet", [1, 2, 3], [0, 1, 1])
    write(tmp_path / "set/test.parquet", [4, 5], [0, 1])
    table = pq.read_table(path)
    cells = table.column("image").to_pylist()
    cells[1]["bytes"] = b"no image"
    pq.write_table(table.set_column(0, "image", [cells]), path)
    with pytest.raises(UnreadableImageError, match=r"row 1 \(2\.png\) cannot be read"):
        load_dataset(tmp_path / "set")
    dataset = load_dataset(tmp_path / "set", skip_unreadable=True)
    assert (reds(dataset.train), dataset.skipped) == ([1, 3], 1)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="a file but neither parquet, npz nor zip"):
        load_dataset(tmp_path / "notes.txt")


# What the datasets library writes


def test_a_saved_dict(tmp_path):
    saved = datasets.DatasetDict(train=hf_set([1, 2, 3], [1, 0, 1]), validation=hf_set([4, 5], [0, 1]))
    saved.save_to_disk(tmp_path / "saved")
    dataset = load_dataset(tmp_path / "saved")
    assert dataset.class_names == ("cat", "dog")
    assert (reds(dataset.train), dataset.train.labels.tolist()) == ([1, 2, 3], [1, 0, 1])
    assert (reds(dataset.test), dataset.test.labels.tolist()) == ([4, 5], [0, 1])


def test_a_saved_dict_keeps_the_order_of_a_selection(tmp_path):
    chosen = hf_set([1, 2, 3, 4], [1, 0, 1, 0]).select([3, 0])
    datasets.DatasetDict(train=chosen, test=chosen).save_to_disk(tmp_path / "saved")
    dataset = load_dataset(tmp_path / "saved")
    assert (reds(dataset.train), dataset.train.labels.tolist()) == ([4, 1], [0, 1])


def test_a_saved_single_set_with_a_test_fraction(tmp_path):
    hf_set(list(range(10)), [0, 1] * 5).save_to_disk(tmp_path / "saved")
    dataset = load_dataset(tmp_path / "saved", test_fraction=0.2)
    assert dataset.test.labels.bincount().tolist() == [1, 1]
    assert [red % 2 for red in reds(dataset.train)] == dataset.train.labels.tolist()
    with pytest.raises(DataError, match=r"`test_fraction=0\.2`"):
        load_dataset(tmp_path / "saved")


def test_parquet_of_the_datasets_library_keeps_its_class_names(tmp_path):
    (tmp_path / "set").mkdir()
    hf_set([1, 2], [1, 0]).to_parquet(tmp_path / "set" / "train.parquet")
    hf_set([3], [1]).to_parquet(tmp_path / "set" / "test.parquet")
    dataset = load_dataset(tmp_path / "set")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.test.labels.tolist() == [1]


def test_the_next_labeled_split_is_used_where_test_has_none(tmp_path, capsys):
    parts = {"train": hf_set([1, 2], [1, 0]), "test": hf_set([3], [-1]), "validation": hf_set([4, 5], [0, 1])}
    dataset = load_dataset(save(tmp_path / "saved", **parts))
    assert (reds(dataset.test), dataset.test.labels.tolist()) == ([4, 5], [0, 1])
    notes = capsys.readouterr().err
    assert "no labels: test" in notes
    assert "test split is validation" in notes


@pytest.mark.parametrize("labels", [[-1, -1], [None, None]])
def test_an_unlabeled_test_split_alone(tmp_path, labels, capsys):
    path = save(tmp_path / "saved", train=hf_set([1, 2, 3, 4], [1, 0, 0, 1]), test=hf_set([5, 6], labels))
    with pytest.raises(DataError, match=r"no labeled test split.*`test_fraction=0\.2`"):
        load_dataset(path)
    assert "no labels: test" in capsys.readouterr().err
    assert len(load_dataset(path, test_fraction=0.5).test) == 2


def test_a_test_split_that_lacks_the_label_column(tmp_path):
    write(tmp_path / "set/train.parquet", [1, 2], ["a", "b"])
    pq.write_table(pa.table({"image": [png(3)]}), tmp_path / "set/test.parquet")
    write(tmp_path / "set/val.parquet", [4], ["b"])
    assert reds(load_dataset(tmp_path / "set").test) == [4]


def test_rows_of_train_without_a_label_are_counted(tmp_path):
    path = save(tmp_path / "saved", train=hf_set([1, 2, 3], [1, -1, -1]), test=hf_set([4, 5], [0, 1]))
    with pytest.raises(DataError, match=r"\(train\): 2 of 3 rows without a label.*first is row 1.*remove"):
        load_dataset(path)


def test_minus_one_and_one_are_two_classes(tmp_path):
    write(tmp_path / "set/train.parquet", [1, 2], [-1, 1])
    write(tmp_path / "set/test.parquet", [3], [-1])
    dataset = load_dataset(tmp_path / "set")
    assert (dataset.class_names, dataset.test.labels.tolist()) == (("-1", "1"), [0])


def test_a_label_beyond_the_declared_names(tmp_path):
    path = save(tmp_path / "saved", train=hf_set([1, 2], [1, 0]), test=hf_set([3], [0]))
    table = datasets.load_from_disk(str(path))["train"].with_format("arrow")[:]
    (tmp_path / "set").mkdir()
    for split, label in (("train", 1), ("test", 2)):
        changed = table.set_column(1, "label", [pa.array([0, label])])
        pq.write_table(changed.replace_schema_metadata(table.schema.metadata), tmp_path / f"set/{split}.parquet")
    with pytest.raises(DataError, match=r"label is outside 0\.\.1.*highest 2.*2 class names"):
        load_dataset(tmp_path / "set")


# Names of classes that differ between files


def write_set(path: Path, form: str, **splits: datasets.Dataset) -> Path:
    if form == "saved":
        return save(path, **splits)
    path.mkdir()
    for name, split in splits.items():
        split.to_parquet(path / f"{name}.parquet")
    return path


@pytest.mark.parametrize("form", ["saved", "parquet"])
@pytest.mark.parametrize(
    ("train", "test", "labels", "want"),
    [
        (("cat", "dog"), ("dog", "cat"), [0, 1, 1], [1, 0, 0]),
        (("cat", "dog", "owl"), ("dog", "owl"), [0, 1, 1], [1, 2, 2]),
        (("cat", "dog"), ("owl", "dog", "cat"), [2, 1, 1], [0, 1, 1]),
    ],
)
def test_labels_of_test_keep_their_names(tmp_path, form, train, test, labels, want):
    every = list(range(len(train)))
    parts = {"train": hf_set(every, every, train), "test": hf_set([3, 4, 5], labels, test)}
    dataset = load_dataset(write_set(tmp_path / "set", form, **parts))
    assert (dataset.class_names, dataset.train.labels.tolist()) == (train, every)
    assert (reds(dataset.test), dataset.test.labels.tolist()) == ([3, 4, 5], want)


def test_labels_of_each_shard_keep_their_names(tmp_path):
    shards = {"train-0": hf_set([1, 2], [0, 1]), "train-1": hf_set([3, 4, 5], [0, 1, -1], ("dog", "cat"))}
    path = write_set(tmp_path / "set", "parquet", **shards, test=hf_set([6], [1]))
    with pytest.raises(DataError, match="1 of 5 rows without a label"):
        load_dataset(path)
    hf_set([3, 4, 5], [0, 1, 2], ("dog", "cat", "owl")).to_parquet(path / "train-1.parquet")
    dataset = load_dataset(path)
    assert (dataset.class_names, dataset.train.labels.tolist()) == (("cat", "dog", "owl"), [0, 1, 1, 0, 2])
    hf_set([3], [0], None).to_parquet(path / "train-1.parquet")
    with pytest.raises(DataError, match=r"column 'label': some files declare class names.*write them alike"):
        load_dataset(path)


@pytest.mark.parametrize("form", ["saved", "parquet"])
@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (None, ("dog", "cat"), r"test split declares class names \(dog, cat\) and the training split none"),
        (("cat", "dog"), ("Cat", "dog"), r"class that train lacks: Cat \(train has cat, dog\)"),
        (("0", "1"), ("cat", "dog"), "class that train lacks: cat"),
    ],
)
def test_names_of_test_that_train_lacks(tmp_path, form, train, test, message):
    parts = {"train": hf_set([1, 2], [1, 0], train), "test": hf_set([3, 4], [0, 1], test)}
    with pytest.raises(DataError, match=message):
        load_dataset(write_set(tmp_path / "set", form, **parts))


def test_names_of_a_split_that_is_not_used(tmp_path):
    parts = {"train": hf_set([1, 2], [1, 0]), "test": hf_set([3], [1]), "extra": hf_set([4], [0], ("owl",))}
    assert load_dataset(save(tmp_path / "saved", **parts)).test.labels.tolist() == [1]

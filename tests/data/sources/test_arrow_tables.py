from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.data.load import load_dataset


def png(red: int, size: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, reds: list[int], labels: list, *, struct: bool = True, label: str = "label") -> Path:
    cells = [{"bytes": png(red), "path": f"{red}.png"} if struct else png(red) for red in reds]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": cells, label: labels, "width": pa.array([0.5] * len(reds))}), path)
    return path


def reds(split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


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


def hf_set(values: list[int], labels: list[int], names: tuple[str, ...] | None = ("cat", "dog")) -> datasets.Dataset:
    """Return images of these reds, with labels that declare class names unless `names` is None."""
    kind = datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64")
    features = datasets.Features({"img": datasets.Image(), "label": kind})
    images = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in values]
    return datasets.Dataset.from_dict({"img": images, "label": labels}, features=features)


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


def save(path: Path, **splits: datasets.Dataset) -> Path:
    datasets.DatasetDict(splits).save_to_disk(path)
    return path


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


# Names of splits


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


# Labels of other types


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([True, False, True], ("False", "True")),
        ([7.0, 3.0, 7.0], ("3", "7")),
        (["Ä", "x y", "Ä"], ("x y", "Ä")),
        (pa.array([7, 3, 7], pa.uint8()), ("3", "7")),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
        (pa.array(["b", "a", "b"], pa.large_string()), ("a", "b")),
    ],
)
def test_types_of_labels(tmp_path, labels, names):
    for split in ("train", "test"):
        write(tmp_path / f"set/{split}.parquet", [1, 2, 3], labels)
    dataset = load_dataset(tmp_path / "set")
    assert dataset.class_names == names
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [1, 0, 1]


def test_numbers_with_gaps_as_pandas_writes_them(tmp_path):
    write(tmp_path / "one.parquet", [1, 2, 3], [0.0, float("nan"), 1.0])
    with pytest.raises(DataError, match="1 of 3 rows without a label"):
        load_dataset(tmp_path / "one.parquet", test_fraction=0.5)


def test_labels_that_are_not_whole(tmp_path):
    write(tmp_path / "one.parquet", [1, 2], [0.5, 1.0])
    with pytest.raises(DataError, match=r"'label' holds numbers that are not whole, such as 0\.5.*`label_column`"):
        load_dataset(tmp_path / "one.parquet", test_fraction=0.5)


def test_texts_in_train_and_numbers_in_test(tmp_path):
    write(tmp_path / "set/train.parquet", [1, 2], ["0", "1"])
    write(tmp_path / "set/test.parquet", [3], [0])
    with pytest.raises(DataError, match="texts in the training split and whole numbers in the test split"):
        load_dataset(tmp_path / "set")


# Columns


def two_of_each(path: Path) -> Path:
    columns = {"front": [png(1), png(2)], "back": [png(3), png(4)], "breed": ["b", "a"], "owner": ["c", "d"]}
    pq.write_table(pa.table(columns), path)
    return path


def test_columns_are_chosen_by_options(tmp_path):
    path = two_of_each(tmp_path / "one.parquet")
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        two_of_each(tmp_path / f"set/{split}.parquet")
    with pytest.raises(DataError, match=r"`image_column`; 2 could be it \(front, back\)"):
        load_dataset(path, test_fraction=0.5)
    with pytest.raises(DataError, match=r"`label_column`; 2 could be it \(breed, owner\)"):
        load_dataset(path, test_fraction=0.5, image_column="back")
    dataset = load_dataset(tmp_path / "set", image_column="back", label_column="owner")
    assert (reds(dataset.train), dataset.class_names) == ([3, 4], ("c", "d"))
    assert load_dataset(tmp_path / "set", image_column="back", label_column="breed").class_names == ("a", "b")


def test_an_option_names_a_column_that_is_not_there_or_does_not_fit(tmp_path):
    path = two_of_each(tmp_path / "one.parquet")
    with pytest.raises(DataError, match=r"`label_column=dog` is not there.*breed \(string\)"):
        load_dataset(path, test_fraction=0.5, image_column="back", label_column="dog")
    with pytest.raises(DataError, match=r"`image_column=breed` does not fit, wanted encoded images"):
        load_dataset(path, test_fraction=0.5, image_column="breed")


def test_a_usual_name_is_stronger_than_a_type(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        columns = {"Image": [png(1), png(2)], "id": [10, 11], "Label": [1.0, 0.0], "mask": [png(8), png(9)]}
        pq.write_table(pa.table(columns), tmp_path / f"set/{split}.parquet")
    dataset = load_dataset(tmp_path / "set")
    assert (dataset.class_names, reds(dataset.train)) == (("0", "1"), [1, 2])


def test_a_choice_between_two_usual_names_is_told(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        columns = {"img": [png(1), png(2)], "coarse": ["x", "x"], "target": [5, 6], "fine_label": [0, 1]}
        pq.write_table(pa.table(columns), tmp_path / f"set/{split}.parquet")
    assert load_dataset(tmp_path / "set").class_names == ("0", "1")
    assert "fine_label holds the labels, not target" in capsys.readouterr().err


def test_the_index_that_pandas_writes_is_no_label(tmp_path):
    (tmp_path / "set").mkdir()
    columns = {"photo": [png(1), png(2)], "breed": ["b", "a"], "__index_level_0__": [0, 1]}
    for split in ("train", "test"):
        pq.write_table(pa.table(columns), tmp_path / f"set/{split}.parquet")
    assert load_dataset(tmp_path / "set").class_names == ("a", "b")


def test_a_shard_without_the_column(tmp_path):
    write(tmp_path / "set/train-0.parquet", [1, 2], [0, 1])
    pq.write_table(pa.table({"image": [png(1)], "other": [1]}), tmp_path / "set/train-1.parquet")
    write(tmp_path / "set/test.parquet", [1, 2], [0, 1])
    with pytest.raises(DataError, match=r"train-1\.parquet lacks column 'label', which train-0\.parquet has"):
        load_dataset(tmp_path / "set")


# Images that are arrays


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3), np.uint8)  # N, H, W, C


def nested(kind: pa.DataType, depth: int) -> pa.DataType:
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def check_arrays(path: Path, want: np.ndarray) -> None:
    dataset = load_dataset(path)
    for split in (dataset.train, dataset.test):
        assert np.array_equal(split.images.numpy(), want)


@pytest.mark.parametrize("kind", [pa.uint8(), pa.int64()])
@pytest.mark.parametrize("layout", ["HWC", "CHW", "HW", "HW1"])
def test_nested_lists(tmp_path, kind, layout):
    channels_first = PIXELS.transpose(0, 3, 1, 2)
    arrays = {"HWC": PIXELS, "CHW": channels_first, "HW": PIXELS[..., 0], "HW1": PIXELS[..., :1]}[layout]
    cells = pa.array(arrays.tolist(), nested(kind, arrays.ndim - 1))
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": cells, "label": [0, 1, 1]}), tmp_path / f"set/{split}.parquet")
    check_arrays(tmp_path / "set", channels_first if "C" in layout else channels_first[:, :1])


@pytest.mark.parametrize("permutation", [None, [2, 0, 1]])
def test_tensors_of_a_fixed_shape(tmp_path, permutation):
    kind = pa.fixed_shape_tensor(pa.uint8(), PIXELS.shape[1:], permutation=permutation)
    cells = pa.ExtensionArray.from_storage(kind, pa.array(PIXELS.reshape(3, -1).tolist(), kind.storage_type))
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        pq.write_table(pa.table({"image": cells, "label": [0, 1, 1]}), tmp_path / f"set/{split}.parquet")
    check_arrays(tmp_path / "set", PIXELS.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("write_as", ["saved", "parquet"])
@pytest.mark.parametrize("gray", [True, False])
def test_arrays_of_the_datasets_library(tmp_path, write_as, gray):
    arrays = PIXELS[..., 0] if gray else PIXELS
    array = (datasets.Array2D if gray else datasets.Array3D)(shape=arrays.shape[1:], dtype="uint8")
    features = datasets.Features({"pixels": array, "label": datasets.ClassLabel(names=["cat", "dog"])})
    made = datasets.Dataset.from_dict({"pixels": arrays.tolist(), "label": [0, 1, 1]}, features=features)
    if write_as == "saved":
        save(tmp_path / "set", train=made, test=made)
    else:
        (tmp_path / "set").mkdir()
        for split in ("train", "test"):
            made.to_parquet(tmp_path / f"set/{split}.parquet")
    want = PIXELS.transpose(0, 3, 1, 2)
    check_arrays(tmp_path / "set", want[:, :1] if gray else want)


def test_arrays_are_resized_and_split(tmp_path):
    cells = pa.array(np.repeat(PIXELS, 4, 0).tolist(), nested(pa.uint8(), 3))
    pq.write_table(pa.table({"image": cells, "label": [0, 1] * 6}), tmp_path / "one.parquet")
    dataset = load_dataset(tmp_path / "one.parquet", test_fraction=0.5, image_size=4)
    assert tuple(dataset.test.images.shape) == (6, 3, 4, 4)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[[1] * 3] * 5] * 3, r"row 0.*\[3, 5, 3\] could be \[H, W, C\] or \[C, H, W\]"),
        ([[[1] * 7] * 5] * 6, r"\[6, 5, 7\]; wanted \[H, W\]"),
        ([[[1] * 3] * 5, [[1] * 3] * 4], "different lengths"),
        ([[[300] * 3] * 5] * 6, r"lie in 300\.\.300"),
        (None, "holds no image"),
    ],
)
def test_arrays_that_are_no_image(tmp_path, cell, message):
    cells = pa.array([cell, cell], nested(pa.int64(), 3))
    for split in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        pq.write_table(pa.table({"image": cells, "label": [0, 1]}), tmp_path / f"set/{split}.parquet")
    with pytest.raises(UnreadableImageError, match=message):
        load_dataset(tmp_path / "set")


def test_arrays_of_floats_are_refused(tmp_path):
    cells = pa.array((PIXELS / 255).tolist(), nested(pa.float32(), 3))
    pq.write_table(pa.table({"image": cells, "label": [0, 1, 1]}), tmp_path / "one.parquet")
    with pytest.raises(DataError, match=r"image column.*arrays of whole numbers.*float"):
        load_dataset(tmp_path / "one.parquet", test_fraction=0.5)


def test_bytes_without_a_path(tmp_path):
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        cells = pa.array([{"bytes": png(1)}, {"bytes": png(2)}])
        pq.write_table(pa.table({"image": cells, "label": [0, 1]}), tmp_path / f"set/{split}.parquet")
    assert reds(load_dataset(tmp_path / "set").train) == [1, 2]

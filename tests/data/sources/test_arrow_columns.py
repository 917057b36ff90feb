"""Columns of tables: their choice, labels of any type, images as bytes and as arrays."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atom_distill.base.errors import DataError, UnreadableImageError
from atom_distill.data.load import load_dataset
from data.sources.tables import png, reds, save, write

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

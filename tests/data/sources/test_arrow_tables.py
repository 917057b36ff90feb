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
    with pytest.raises(DataError, match="a file but neither parquet nor zip"):
        load_dataset(tmp_path / "notes.txt")


# What the datasets library writes


def hf_set(values: list[int], labels: list[int]) -> datasets.Dataset:
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
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


def test_an_unlabeled_test_split_is_refused(tmp_path):
    saved = datasets.DatasetDict(train=hf_set([1, 2], [1, 0]), test=hf_set([3], [-1]))
    saved.save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"label is outside 0\.\.1.*unlabeled"):
        load_dataset(tmp_path / "saved")


def test_a_damaged_saved_set(tmp_path):
    hf_set([1, 2], [0, 1]).save_to_disk(tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(np.zeros(3).tobytes())
    with pytest.raises(DataError, match="not a readable saved Hugging Face data set"):
        load_dataset(tmp_path / "saved", test_fraction=0.5)

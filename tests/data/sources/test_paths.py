"""Which of the files at a path are the data set."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from atom_distill.base.errors import DataError
from atom_distill.data.load import load_dataset


def png(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write_table(path: Path, reds: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [png(red) for red in reds], "label": [red % 2 for red in reds]}), path)


def write_images(root: Path, reds: list[int]) -> None:
    for red in reds:
        path = root / ("cat", "dog")[red % 2] / f"{red}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(red))


def write_zip(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return path


def check_refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(path, test_fraction=0.5)
    assert "\\n" not in str(caught.value)


def test_a_parquet_file_among_images(tmp_path):
    write_images(tmp_path / "set", [1, 2, 3, 4])
    write_table(tmp_path / "set/cat/thumbs.parquet", [5, 6, 7, 8])
    check_refused(tmp_path / "set", r"images \(cat/2\.png\) and cat/thumbs\.parquet.*give .*set/cat/thumbs\.parquet")
    assert load_dataset(tmp_path / "set/cat/thumbs.parquet", test_fraction=0.5).class_names == ("0", "1")
    write_table(tmp_path / "set/test.parquet", [5, 6])
    check_refused(tmp_path / "set", r"move the parquet files out of it.*move them into a folder of their own")


def test_endings_in_upper_case(tmp_path):
    for name, reds in (("TRAIN", [1, 2, 3, 4]), ("TEST", [4, 5])):
        write_table(tmp_path / f"set/{name}.PARQUET", reds)
    dataset = load_dataset(tmp_path / "set")
    assert (len(dataset.train), len(dataset.test)) == (4, 2)
    assert len(load_dataset(tmp_path / "set/TRAIN.PARQUET", test_fraction=0.5).train) == 2


def test_an_array_file_in_a_folder(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((4, 4, 4), np.uint8), labels=[0, 1, 0, 1])
    check_refused(tmp_path, r"holds set\.npz and no images; give the file, .*/set\.npz")


def test_zip_files_in_a_folder(tmp_path):
    for name in ("train", "test"):
        write_zip(tmp_path / f"{name}.zip", a_png=png(1))
    check_refused(tmp_path, r"holds test\.zip, train\.zip and no images; .*unpack zip files, each into a folder")


@pytest.mark.parametrize("name", ["set_parquet", "train_zip", "set_npz"])
def test_a_zip_file_of_sets(tmp_path, name):
    path = write_zip(tmp_path / "all.zip", **{name: b"content", "readme_txt": b"text"})
    check_refused(path, rf"holds {name.replace('_', '.')} and no images; unpack it")

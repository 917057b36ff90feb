from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from atom_distill.base.errors import ConfigError, DataError, UnreadableImageError
from atom_distill.data.load import load_dataset

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (6, 5, 6), np.uint8)
COLOR = RANDOM.integers(0, 256, (6, 5, 6, 3), np.uint8)
LABELS = np.array([2, 0, 1, 0, 1, 2])


def medmnist(path: Path, images: np.ndarray = COLOR, labels: np.ndarray = LABELS[:, None], **more: np.ndarray) -> Path:
    """Write images 0, 1, 2, ... to train, backward to val, and 0, 1, 2 to test."""
    parts = {"train": slice(None), "val": slice(None, None, -1), "test": slice(3)}
    arrays = {f"{part}_{kind}": values[rows] for part, rows in parts.items() for kind, values in (("images", images),)}
    arrays |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    np.savez_compressed(path, **{name: value for name, value in (arrays | more).items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("images", "want"),
    [
        (GRAY, GRAY[:, None]),
        (GRAY[..., None], GRAY[:, None]),
        (COLOR, COLOR.transpose(0, 3, 1, 2)),
        (COLOR.transpose(0, 3, 1, 2), COLOR.transpose(0, 3, 1, 2)),
        (COLOR.astype(">i4"), COLOR.transpose(0, 3, 1, 2)),
    ],
)
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None].astype(np.uint8), LABELS.astype(np.float32)])
def test_a_file_like_those_of_medmnist(tmp_path, images, want, labels, capsys):
    dataset = load_dataset(medmnist(tmp_path / "pathmnist.npz", images, labels))
    assert (dataset.name, dataset.class_names) == ("pathmnist", ("0", "1", "2"))
    assert np.array_equal(dataset.train.images.numpy(), want)
    assert np.array_equal(dataset.test.images.numpy(), want[:3])
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert "not used: val" in capsys.readouterr().err


def test_the_validation_split_is_chosen(tmp_path):
    dataset = load_dataset(medmnist(tmp_path / "set.npz"), test_split="val")
    assert dataset.test.labels.tolist() == LABELS[::-1].tolist()


def test_images_are_resized(tmp_path):
    dataset = load_dataset(medmnist(tmp_path / "set.npz"), image_size=8)
    assert tuple(dataset.train.images.shape) == (6, 3, 8, 8)


@pytest.mark.parametrize("keys", [("x_{}", "y_{}"), ("X_{}", "Y_{}"), ("{}_data", "{}_target"), ("{}_x", "{}_y")])
def test_other_names(tmp_path, keys):
    arrays = {
        key.format(part): value for part in ("train", "test") for key, value in zip(keys, (GRAY, LABELS), strict=True)
    }
    np.savez(tmp_path / "set.npz", **arrays)
    dataset = load_dataset(tmp_path / "set.npz")
    assert np.array_equal(dataset.test.images.numpy(), GRAY[:, None])
    assert dataset.test.labels.tolist() == LABELS.tolist()


def test_one_pair_of_arrays_is_split(tmp_path):
    np.savez(tmp_path / "set.npz", images=COLOR, labels=np.array(list("cababc")))
    dataset = load_dataset(tmp_path / "set.npz", test_fraction=0.5)
    assert dataset.class_names == ("a", "b", "c")
    for split in (dataset.train, dataset.test):
        for image, label in zip(split.images.numpy(), split.labels.tolist(), strict=True):
            row = int(np.flatnonzero((COLOR.transpose(0, 3, 1, 2) == image).all((1, 2, 3)))[0])
            assert label == LABELS[row]
    with pytest.raises(DataError, match="no labeled test split"):
        load_dataset(tmp_path / "set.npz")


def test_a_test_split_without_labels(tmp_path, capsys):
    path = medmnist(tmp_path / "set.npz", test_labels=None)
    assert len(load_dataset(path).test) == 6
    assert "test split is val" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train_labels": np.eye(6, 14)}, r"train_labels has shape \[6, 14\].*several labels per image"),
        ({"train_images": COLOR / 255}, r"train_images has values of float64.*0\.\.255"),
        ({"train_images": RANDOM.integers(0, 9, (6, 5, 5, 5), np.uint8)}, r"train_images.*\[5, 5, 5\]; wanted"),
        ({"train_labels": LABELS[:5]}, "6 images and train_labels 5 labels"),
        ({"train_labels": LABELS - 1}, "2 of 6 rows without a label"),
        ({"train_labels": np.array([0, 1, None] * 2, object)}, "train_labels.npy holds pickled Python objects"),
        ({"train_images": np.asfortranarray(COLOR)}, "Fortran order"),
    ],
)
def test_what_cannot_be_read(tmp_path, more, message):
    with pytest.raises(DataError, match=message):
        load_dataset(medmnist(tmp_path / "set.npz", **more))


def test_values_beyond_eight_bits(tmp_path):
    path = medmnist(tmp_path / "set.npz", GRAY.astype(np.int32) + np.array([0, 0, 300, 0, 0, 0])[:, None, None])
    with pytest.raises(UnreadableImageError, match=r"row 2 of train_images.*wanted 0\.\.255"):
        load_dataset(path)


def test_other_arrays(tmp_path):
    np.savez(tmp_path / "set.npz", weights=GRAY, notes=np.array([{}], object))
    with pytest.raises(DataError, match="holds notes, weights; wanted train_images"):
        load_dataset(tmp_path / "set.npz")
    path = medmnist(tmp_path / "more.npz", info=np.array([{}], object))
    assert len(load_dataset(path).train) == 6


@pytest.mark.parametrize("damage", [lambda b: b[:200], lambda b: b[:300] + bytes(200) + b[500:], lambda _: b"PK"])
def test_damaged_files(tmp_path, damage):
    path = medmnist(tmp_path / "set.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"set\.npz is not a readable npz file"):
        load_dataset(path)


def test_a_damaged_header_of_an_array(tmp_path):
    path = medmnist(tmp_path / "set.npz")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[:10] + b"{'descr': (".ljust(118) + content[128:])
    with pytest.raises(DataError, match=r"set\.npz is not a readable npz file"):
        load_dataset(path)


def test_texts_as_bytes(tmp_path):
    names = np.array(["é", "cat", "owl"])
    path = medmnist(tmp_path / "set.npz", labels=np.char.encode(names, "utf-8")[LABELS])
    dataset = load_dataset(path)
    assert dataset.class_names == ("cat", "owl", "é")
    assert [dataset.class_names[label] for label in dataset.train.labels] == names[LABELS].tolist()
    with pytest.raises(DataError, match=r"train_labels holds .*utf-8"):
        load_dataset(medmnist(path, labels=np.array([b"\xff", b"a", b"b"])[LABELS]))


def test_arrays_about_the_images_are_not_taken_for_images(tmp_path, capsys):
    path = medmnist(tmp_path / "set.npz", train_image_ids=np.arange(6), image_names=np.array(list("abcdef")))
    assert len(load_dataset(path).train) == 6
    assert "not used, being neither labeled nor a split: image_names, train_image_ids" in capsys.readouterr().err


@pytest.mark.parametrize("more", [{"train_data": COLOR}, {"train_target": LABELS}])
def test_two_arrays_that_could_be_the_same_are_refused(tmp_path, more):
    (key,) = more
    with pytest.raises(DataError, match=f"both train_(images|labels) and {key} could be the (images|labels) of train"):
        load_dataset(medmnist(tmp_path / "set.npz", **more))


@pytest.mark.parametrize("option", ["image_column", "label_column"])
def test_arrays_have_no_columns(tmp_path, option):
    with pytest.raises(ConfigError, match=f"leave out `{option}`"):
        load_dataset(medmnist(tmp_path / "set.npz"), **{option: "x"})


def test_a_file_that_was_overwritten_with_its_time_kept_is_read_again(tmp_path):
    path = medmnist(tmp_path / "set.npz")
    before, time = load_dataset(path), path.stat().st_mtime_ns
    medmnist(path, COLOR ^ 1)
    os.utime(path, ns=(time, time))
    assert load_dataset(path).fingerprint != before.fingerprint

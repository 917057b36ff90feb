from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import CacheError, DataError
from atom_distill.data.cache import store
from atom_distill.data.cache.raw import ArraySplit, LoadOptions, RawDataset
from atom_distill.data.load import load_dataset

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def raw(value: int = 1) -> RawDataset:
    images = np.full((6, 3, 4, 4), value, np.uint8)
    labels = np.arange(6) % 2
    return RawDataset(ArraySplit(images, labels), ArraySplit(images[:2], labels[:2]), ("x", "y"), "made here")


@pytest.fixture
def slot(tmp_path: Path) -> store.Slot:
    return store.Slot(tmp_path / "cache" / "toy", "toy", "origin 1")


def test_what_is_saved_is_loaded(slot):
    saved, loaded = store.save(raw(), slot, LoadOptions()), store.load(slot)
    for dataset in (saved, loaded):
        assert torch.equal(dataset.train.images, torch.full((6, 3, 4, 4), 1, dtype=torch.uint8))
        assert dataset.test.labels.tolist() == [0, 1]
        assert (dataset.class_names, dataset.source, dataset.cache_folder) == (("x", "y"), "made here", slot.folder)
    assert saved.fingerprint == loaded.fingerprint


def test_fingerprint_in_memory_equals_the_stored_one(slot):
    made = store.in_memory(raw(), "toy")
    assert made.fingerprint == store.save(raw(), slot, LoadOptions()).fingerprint
    assert torch.equal(made.train.images, torch.full((6, 3, 4, 4), 1, dtype=torch.uint8))
    assert made.test.labels.tolist() == [0, 1]
    renamed = replace(raw(), class_names=("x", "z"))
    assert store.in_memory(renamed, "toy").fingerprint != made.fingerprint


def test_images_are_mapped_writable_without_touching_the_file_or_a_warning(slot):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = store.save(raw(), slot, LoadOptions())
    dataset.train.images[0] = 99
    assert int(store.load(slot).train.images[0].max()) == 1


@pytest.mark.parametrize("array", ARRAYS)
def test_a_truncated_file_is_named(slot, array):
    store.save(raw(), slot, LoadOptions())
    path = slot.folder / f"{array}.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CacheError, match=rf"{array}\.npy is truncated.*Delete .*toy, and it is made again"):
        store.load(slot)


@pytest.mark.parametrize("array", ARRAYS)
def test_a_flipped_bit_is_found(slot, array):
    store.save(raw(), slot, LoadOptions())
    path = slot.folder / f"{array}.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(CacheError, match=rf"{array}\.npy was changed"):
        store.load(slot)


def test_only_what_was_touched_is_read_again(slot, monkeypatch):
    store.save(raw(), slot, LoadOptions())
    read = []
    crc = store._crc_of_bytes
    monkeypatch.setattr(store, "_crc_of_bytes", lambda array: (read.append(array.shape), crc(array))[1])
    store.load(slot)
    assert not read
    touched = slot.folder / "test_images.npy"
    os.utime(touched, ns=(1, 1))
    store.load(slot)
    assert read == [np.load(touched, mmap_mode="r").shape]
    (slot.folder / "verified.json").write_text("damaged")
    store.load(slot)
    assert len(read) == 1 + 4
    store.load(slot)
    assert len(read) == 1 + 4


def test_a_damaged_header_is_found(slot):
    store.save(raw(), slot, LoadOptions())
    path = slot.folder / "test_images.npy"
    path.write_bytes(path.read_bytes().replace(b"|u1", b"|i1"))
    with pytest.raises(CacheError, match=r"test_images\.npy has another shape"):
        store.load(slot)


@pytest.mark.parametrize("header", [b"{'descr': (", b"{'descr': '|u1', 'fortran_order': False, 'shape': (2,", b"\xff"])
def test_a_header_that_cannot_be_read_is_found(slot, header):
    store.save(raw(), slot, LoadOptions())
    path = slot.folder / "test_images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:10] + header.ljust(118) + content[128:])
    with pytest.raises(CacheError, match=r"test_images\.npy is damaged"):
        store.load(slot)


def test_a_missing_file_is_named(slot):
    store.save(raw(), slot, LoadOptions())
    (slot.folder / "train_labels.npy").unlink()
    with pytest.raises(CacheError, match=r"train_labels\.npy is missing"):
        store.load(slot)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "arrays": {}}'])
def test_a_broken_description_is_named(slot, text):
    store.save(raw(), slot, LoadOptions())
    (slot.folder / "dataset.json").write_text(text)
    with pytest.raises(CacheError, match=r"dataset\.json is damaged"):
        store.load(slot)


@pytest.mark.parametrize("change", [{"class_names": ["x", "z"]}, {"format": 2}, {"fingerprint": "0"}])
def test_a_changed_description_is_found(slot, change):
    store.save(raw(), slot, LoadOptions())
    path = slot.folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CacheError, match=r"dataset\.json is of another version or was changed"):
        store.load(slot)


@pytest.mark.parametrize("place", [(), ("arrays", "test_labels")])
def test_a_description_that_lacks_anything_is_found(slot, place):
    store.save(raw(), slot, LoadOptions())
    path = slot.folder / "dataset.json"
    whole = json.loads(path.read_text())
    optional = {"origin", "names_declared", "contents"}
    for name in reduce(dict.__getitem__, place, whole).keys() - optional:
        index = json.loads(json.dumps(whole))
        del reduce(dict.__getitem__, place, index)[name]
        path.write_text(json.dumps(index))
        with pytest.raises(CacheError, match=r"dataset\.json is (damaged|of another version)"):
            store.load(slot)
    path.write_text(json.dumps({name: value for name, value in whole.items() if name not in optional}))
    assert store.load(slot).fingerprint == whole["fingerprint"]


def test_a_failed_refresh_keeps_what_was_there(slot):
    store.save(raw(1), slot, LoadOptions())
    one_class = RawDataset(raw(2).train, raw(2).test, ("x",), "made here")
    with pytest.raises(DataError):
        store.save(one_class, slot, LoadOptions())
    assert int(store.load(slot).train.images.max()) == 1
    assert [path.name for path in slot.folder.parent.iterdir()] == ["toy"]


def test_another_origin_is_out_of_date(slot):
    store.save(raw(), slot, LoadOptions())
    assert slot.is_filled()
    assert not store.Slot(slot.folder, "toy", "origin 2").is_filled()


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    blocked = store.Slot(tmp_path / "file" / "toy", "toy")
    with pytest.raises(CacheError, match=r"cannot be written.*ATOM_DATA"):
        store.save(raw(), blocked, LoadOptions())


def test_too_little_room_is_told_before_anything_is_written(slot, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(CacheError, match=r"needs 384 bytes .* has 10 bytes free; set ATOM_DATA"):
        store.save(raw(), slot, LoadOptions())


def test_cache_root_follows_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("ATOM_DATA")
    assert cache_root().name == "atom-distill"


def test_a_truncated_cache_of_a_folder_names_the_path(class_folders):
    folder = load_dataset(class_folders).cache_folder
    path = folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CacheError, match=rf"Delete {folder}, and it is made again"):
        load_dataset(class_folders)
    assert len(load_dataset(class_folders, refresh=True).train) == 8
    assert len(load_dataset(class_folders).train) == 8


def test_images_of_both_splits_are_told(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    labels = np.array([0, 1, 0, 1, 0, 1])
    for shared, told in ((0, ""), (1, "1 image is both in the"), (3, "3 images are both in the")):
        test = np.concatenate([images[:shared], images[shared:] ^ 1])
        slot = store.Slot(tmp_path / f"toy{shared}", "toy")
        store.save(
            RawDataset(ArraySplit(images, labels), ArraySplit(test, labels), ("a", "b"), "made"), slot, LoadOptions()
        )
        err = capsys.readouterr().err
        assert told in err
        assert ("split" in err) == bool(shared)

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import ConfigError, DataError, UnknownNameError
from atom_distill.data.cache.raw import ArraySplit, NotHereError, RawDataset
from atom_distill.data.load import is_at_hand, load_dataset
from atom_distill.data.original import request_of
from atom_distill.data.sources import hugging_face, named


def test_digits_are_split_once_for_all():
    one, two = load_dataset("digits", seed=0), load_dataset("digits", seed=5)
    assert (len(one.train), len(one.test), one.image_shape) == (1438, 359, (1, 8, 8))
    assert one.train.images.max() == 255
    assert one.test.labels.bincount().min() >= 34
    assert one.fingerprint == two.fingerprint
    assert one.cache_folder is None


def test_digits_hold_scikit_learns_images():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits")
    got = np.concatenate([dataset.train.images.numpy(), dataset.test.images.numpy()])[:, 0]
    key = lambda images: sorted(image.tobytes() for image in images)  # noqa: E731
    assert key(np.rint(got / 255 * 16).astype(np.uint8)) == key(load_digits().images.astype(np.uint8))


def test_a_named_set_at_another_size():
    dataset = load_dataset("digits", image_size=16)
    assert dataset.image_shape == (1, 16, 16)
    assert dataset.name == "digits"
    assert len(dataset.train) == 1438
    assert load_dataset("digits", image_size=16).fingerprint == dataset.fingerprint
    assert load_dataset("digits", image_size=8).cache_folder is None


def test_an_unknown_name_suggests_the_nearest_and_paths():
    with pytest.raises(UnknownNameError, match=r"unknown data set 'cifar11'.*'cifar10'.*or a path to class folders"):
        load_dataset("cifar11")


def test_a_path_object_is_a_path_even_if_it_looks_like_a_name(class_folders, monkeypatch):
    monkeypatch.chdir(class_folders.parent)
    class_folders.rename("digits")
    assert load_dataset("digits").num_classes == 10
    assert load_dataset("./digits").num_classes == load_dataset(Path("digits")).num_classes == 2


def test_a_path_takes_no_data_dir(class_folders):
    with pytest.raises(ConfigError, match="`data_dir` is for named sets"):
        load_dataset(class_folders, data_dir=class_folders)


def test_a_named_set_takes_no_test_fraction():
    with pytest.raises(ConfigError, match="digits has a test split of its own"):
        load_dataset("digits", test_fraction=0.2)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_test_fraction_out_of_range(tmp_path, fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        load_dataset(tmp_path, test_fraction=fraction)


def test_without_a_network_the_answer_is_quick_and_says_what_to_do():
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        load_dataset("cifar10")
    assert time.monotonic() - start < 10
    for part in ("cache", "`data_dir`", "hub cannot be reached", "npm", "cifar-10-python.tar.gz", "ATOM_DATA"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hugging_face, "_PROBE_SECONDS", 0.5)
        start = time.monotonic()
        with pytest.raises(DataError, match=r"tiny-imagenet-200.zip"):
            load_dataset("tiny-imagenet")
        assert time.monotonic() - start < 10


def test_offline_mode_does_not_probe(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hugging_face, "_probe", lambda _: pytest.fail("it asked the network"))
    monkeypatch.setattr("datasets.load_dataset_builder", lambda _: (_ for _ in ()).throw(ConnectionError("offline")))
    with pytest.raises(DataError, match=r"did not give uoft-cs/cifar100 .*offline"):
        load_dataset("cifar100")


def test_the_hubs_set_is_read_with_our_class_names(monkeypatch, capsys, set_sizes):
    import datasets

    set_sizes("cifar100", 100, 100)

    names = [f"n{label}" for label in range(100)]
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "fine_label": datasets.ClassLabel(names=names),
            "coarse_label": datasets.ClassLabel(num_classes=20),
        }
    )
    images = [Image.new("RGB", (4, 4), (label, 0, 0)) for label in range(100)]
    rows = {"img": images, "fine_label": list(range(100)), "coarse_label": [label // 5 for label in range(100)]}
    split = datasets.Dataset.from_dict(rows, features=features)

    def prepare():
        sys.stdout.write("chatter of a library")

    found = datasets.DatasetDict(train=split, test=split)
    builder = SimpleNamespace(download_and_prepare=prepare, as_dataset=lambda: found)

    monkeypatch.setattr(hugging_face, "_probe", lambda _: None)
    monkeypatch.setattr("datasets.load_dataset_builder", lambda _: builder)
    dataset = load_dataset("cifar100")
    assert dataset.class_names[:2] == ("apple", "aquarium_fish")
    assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(100))
    assert dataset.source == "Hugging Face hub: uoft-cs/cifar100"
    assert capsys.readouterr().out == ""


def toy(value: int, source: str) -> RawDataset:
    images, labels = np.full((2, 3, 4, 4), value, np.uint8), np.arange(2)
    return RawDataset(ArraySplit(images, labels), ArraySplit(images, labels), ("x", "y"), source)


def test_places_are_tried_in_order(monkeypatch, tmp_path):
    asked = []

    def place(name, value):
        def give(*_):
            asked.append(name)
            if value is None:
                raise NotHereError(f"{name} has none")
            return toy(value, name)

        return give

    def source(folder, hub_value, npm_value):
        asked.clear()
        monkeypatch.setattr(hugging_face, "fetch", place("hub", hub_value))
        return replace(
            named.SOURCES.get("cifar10"),
            name="toy",
            find=place("folder", folder),
            sizes=(2, 2),
            last=place("npm", npm_value),
        )

    def load(which, refresh=False, data_dir=tmp_path):
        return which.load(data_dir, refresh=refresh).source

    with pytest.raises(DataError, match=r"folder has none; the cache .*; hub has none; npm has none"):
        load(source(None, None, None))
    assert asked == ["folder", "hub", "npm"]
    assert load(source(None, None, 3)) == "npm"
    assert load(source(1, 2, 3), data_dir=None) == "npm"  # from the cache
    assert asked == []
    assert load(source(None, 2, 3)) == "npm"
    assert asked == ["folder"]
    assert load(source(1, 2, 3)) == "folder"
    assert load(source(1, 2, 3)) == "folder"  # from the cache
    assert asked == []
    assert load(source(1, 2, 3), data_dir=None) == "npm"  # still there
    assert load(source(None, 2, 3), refresh=True) == "hub"
    assert asked == ["folder", "hub"]
    assert load(source(1, 2, 3), refresh=True) == "folder"
    assert asked == ["folder"]
    assert load(source(1, 2, 3), refresh=True, data_dir=None) == "hub"
    assert (cache_root() / "toy" / "dataset.json").is_file()


def test_a_set_of_a_library_takes_no_data_dir(tmp_path):
    with pytest.raises(ConfigError, match=r"digits .*`data_dir`"):
        load_dataset("digits", data_dir=tmp_path)


def test_a_data_dir_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"`data_dir=.*nowhere` does not exist"):
        load_dataset("cifar10", data_dir=tmp_path / "nowhere")


# TinyImageNet


@pytest.fixture
def tiny_imagenet(tmp_path: Path, set_sizes) -> Path:
    set_sizes("tiny-imagenet", 6, 3)
    root = tmp_path / "published" / "tiny-imagenet-200"
    lines = []
    for label, wnid in enumerate(["n02", "n01", "n03"]):
        for n in range(2):
            path = root / "train" / wnid / "images" / f"{wnid}_{n}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            mode, color = ("L", 60) if (label, n) == (1, 0) else ("RGB", (50 * label, 100, 200))
            Image.new(mode, (64, 64), color).save(path, "JPEG")
        lines.append(f"val_{label}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (root / "val" / "images").mkdir(parents=True)
    for label in range(3):
        Image.new("RGB", (64, 64), (50 * label, 100, 200)).save(root / "val" / "images" / f"val_{label}.JPEG")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("n02\nn01\nn03\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane, bird\nn04\tother\n")
    return root


def assert_tiny(dataset):
    assert dataset.class_names == ("goldfish", "crane (n02)", "crane (n03)")
    assert dataset.image_shape == (3, 64, 64)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.test.labels.tolist() == [1, 0, 2]
    assert dataset.train.images[:, 0, 9, 9].tolist() == pytest.approx([60, 50, 0, 0, 100, 100], abs=4)
    assert dataset.test.images[:, 0, 9, 9].tolist() == pytest.approx([0, 50, 100], abs=4)


@pytest.mark.parametrize("form", ["folder", "parent"])
def test_tiny_imagenet_from_its_folder(tiny_imagenet, form):
    assert_tiny(load_dataset("tiny-imagenet", data_dir=tiny_imagenet if form == "folder" else tiny_imagenet.parent))


@pytest.mark.parametrize("form", ["archive", "parent"])
def test_tiny_imagenet_from_its_zip(tiny_imagenet, tmp_path, form):
    archive = tmp_path / "zipped" / "tiny-imagenet-200.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(tiny_imagenet.rglob("*")):
            target.write(path, path.relative_to(tiny_imagenet.parent))
    assert_tiny(load_dataset("tiny-imagenet", data_dir=archive if form == "archive" else archive.parent))


@pytest.mark.parametrize("name", ["val/val_annotations.txt", "words.txt"])
def test_tiny_imagenet_with_a_damaged_text_in_its_zip(tiny_imagenet, tmp_path, name):
    archive = tmp_path / "zipped" / "tiny-imagenet-200.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(path for path in tiny_imagenet.rglob("*") if path.is_file()):
            target.write(path, f"tiny-imagenet-200/{path.relative_to(tiny_imagenet)}")
        entry = target.getinfo(f"tiny-imagenet-200/{name}")
    content = bytearray(archive.read_bytes())
    start = entry.header_offset + 30 + len(entry.filename)
    content[start : start + 4] = b"\xff" * 4  # no beginning of compressed data
    archive.write_bytes(content)
    if name == "words.txt":  # without it, classes have the names of their folders
        assert all(name.startswith("n") for name in load_dataset("tiny-imagenet", data_dir=archive).class_names)
        return
    with pytest.raises(DataError, match=r"val_annotations\.txt cannot be read"):
        load_dataset("tiny-imagenet", data_dir=archive)


def test_tiny_imagenet_with_a_broken_zip(tmp_path):
    archive = tmp_path / "tiny-imagenet-200.zip"
    archive.write_bytes(io.BytesIO(b"PK cut").getvalue())
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_dataset("tiny-imagenet", data_dir=archive)


def test_tiny_imagenet_with_an_unknown_class_in_val(tiny_imagenet):
    with (tiny_imagenet / "val" / "val_annotations.txt").open("a") as stream:
        stream.write("val_9.JPEG\tn09\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match=r"line without a known class: 'val_9.JPEG"):
        load_dataset("tiny-imagenet", data_dir=tiny_imagenet)


def test_tiny_imagenet_at_half_its_size(tiny_imagenet):
    dataset = load_dataset("tiny-imagenet", data_dir=tiny_imagenet, image_size=32)
    assert dataset.image_shape == (3, 32, 32)
    assert dataset.test.images[:, 0, 9, 9].tolist() == pytest.approx([0, 50, 100], abs=4)


def test_a_copy_without_an_image_does_not_get_the_name(tiny_imagenet):
    (tiny_imagenet / "train/n01/images/n01_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"holds 5 training and 3 test images and not 6 and 3"):
        load_dataset("tiny-imagenet", data_dir=tiny_imagenet)
    assert not is_at_hand("tiny-imagenet")


def test_a_named_set_is_not_read_with_gaps(tiny_imagenet):
    (tiny_imagenet / "train/n01/images/n01_1.JPEG").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"tiny-imagenet must hold all images.*leave out `skip_unreadable`"):
        load_dataset("tiny-imagenet", data_dir=tiny_imagenet, skip_unreadable=True)


def test_a_run_that_recorded_needless_skipping_loads_its_set():
    request = request_of({"request": {"name_or_path": "digits", "skip_unreadable": True}})
    assert load_dataset(**request).name == "digits"
    kept = {"name_or_path": "/a/folder", "skip_unreadable": True}
    assert request_of({"request": kept}) == kept


def test_the_copy_that_is_given_is_the_one_that_is_read(publish, cifar10_pictures):
    first = publish("cifar10 binary", cifar10_pictures, "parent")
    one = load_dataset("cifar10", data_dir=first)
    cifar10_pictures.train[0] ^= 1
    second = publish("cifar10 python3", cifar10_pictures, "parent")
    two = load_dataset("cifar10", data_dir=second)
    assert two.source.startswith(str(second))
    assert one.fingerprint != two.fingerprint
    assert load_dataset("cifar10").fingerprint == one.fingerprint
    for again, data_dir in ((one, first), (two, second)):
        dataset = load_dataset("cifar10", data_dir=data_dir)
        assert (dataset.fingerprint, dataset.cache_folder) == (again.fingerprint, again.cache_folder)
    shutil.copy(next(second.glob("*/data_batch_2")), next(second.glob("*/data_batch_3")))
    (second / "run").mkdir()
    (second / "run" / "config.yaml").write_text("a run beside the data")
    assert load_dataset("cifar10", data_dir=second).fingerprint == two.fingerprint
    assert load_dataset("cifar10", data_dir=second, refresh=True).fingerprint != two.fingerprint


def test_an_archive_that_was_replaced_is_read_again(publish, cifar10_pictures):
    archive = publish("cifar10 python3", cifar10_pictures, "archive")
    first = load_dataset("cifar10", data_dir=archive)
    cifar10_pictures.train[0] ^= 1
    assert publish("cifar10 python3", cifar10_pictures, "archive") == archive
    assert load_dataset("cifar10", data_dir=archive).fingerprint != first.fingerprint


def test_an_incomplete_set_that_an_older_version_cached_is_refused(tiny_imagenet, monkeypatch):
    load_dataset("tiny-imagenet", data_dir=tiny_imagenet)
    source = named.SOURCES.get("tiny-imagenet")
    monkeypatch.setitem(named.SOURCES._entries, "tiny-imagenet", replace(source, sizes=(7, 3)))
    with pytest.raises(
        DataError, match=r"6 training and 3 test images and not 7 and 3.*delete .*, and it is made again"
    ):
        load_dataset("tiny-imagenet")


def test_a_set_that_was_cached_by_an_older_version_is_at_hand(publish, cifar10_pictures):
    folder = load_dataset("cifar10", data_dir=publish("cifar10 binary", cifar10_pictures, "folder")).cache_folder
    index = json.loads((folder / "dataset.json").read_text())
    for origin in ({"origin": ""}, {}):  # that of a named set was empty
        del index["origin"]
        index |= origin
        (folder / "dataset.json").write_text(json.dumps(index))
        assert load_dataset("cifar10").fingerprint == index["fingerprint"]
        index.setdefault("origin", "")


def test_an_empty_folder_brings_no_set_to_hand(publish, cifar10_pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    copy = publish("cifar10 binary", cifar10_pictures, "folder")
    assert not is_at_hand("cifar10", data_dir=tmp_path / "empty")
    assert is_at_hand("cifar10", data_dir=copy)
    assert is_at_hand("digits", data_dir=tmp_path / "empty")
    load_dataset("cifar10", data_dir=copy)
    assert is_at_hand("cifar10", data_dir=tmp_path / "empty")

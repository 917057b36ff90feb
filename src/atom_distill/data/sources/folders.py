"""Class folders: `train/<class>/*` with a test split beside it, or one level of classes that is to be split."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import EncodedSplit, Item, Labels, LoadOptions, RawDataset
from atom_distill.data.sources.splits import SPLIT_NAMES, needless_fraction, no_test_split, stratified_split

# what Pillow reads on every platform
_SUFFIXES = ".png .jpg .jpeg .jfif .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .pnm"
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
_MAX_DEPTH = 8  # links are followed, and one could point to its own parent


@dataclass(frozen=True)
class Listing:
    """The contents of a folder without hidden files; paths are relative to it, with `/`, in sorted order.

    Attributes:
        root: the folder.
        files: (path, size in bytes, time of last change in ns).
        folders: all folders, also empty ones.
    """

    root: Path
    files: tuple[tuple[str, int, int], ...]
    folders: tuple[str, ...]


def scan(root: Path) -> Listing:
    """List the files and folders at any depth of a folder."""
    files: list[tuple[str, int, int]] = []
    folders: list[str] = []
    for here, subfolders, names in os.walk(root, followlinks=True):
        relative = Path(here).relative_to(root)
        hidden = [name for name in subfolders if name.startswith(".")]
        if hidden:
            note(f"{here}: hidden folders are left out ({', '.join(sorted(hidden)[:3])})")
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        folders += [(relative / name).as_posix() for name in subfolders]
        if len(relative.parts) + 1 >= _MAX_DEPTH:
            subfolders.clear()
        for name in names:
            if not name.startswith("."):
                path = Path(here) / name
                stat = path.stat() if path.exists() else path.lstat()  # a dead link fails later, as unreadable
                files.append(((relative / name).as_posix(), stat.st_size, stat.st_mtime_ns))
    return Listing(root, tuple(sorted(files)), tuple(sorted(folders)))


def class_files(listing: Listing, prefix: str = "") -> dict[str, list[str]]:
    """Return the image files of each class folder below `prefix`, at any depth."""
    depth = prefix.count("/")
    found: dict[str, list[str]] = {
        folder.removeprefix(prefix): []
        for folder in listing.folders
        if folder.startswith(prefix) and folder.count("/") == depth
    }
    for path, _, _ in listing.files:
        name, _, rest = path.removeprefix(prefix).partition("/")
        if path.startswith(prefix) and rest and Path(path).suffix.lower() in IMAGE_SUFFIXES:
            found[name].append(path)
    return dict(sorted(found.items()))


def read_folders(listing: Listing, options: LoadOptions) -> RawDataset:
    """Read class folders; classes are numbered in the sorted order of their names.

    Raises:
        DataError: there are no classes, one is empty or only in the test split, or there is no test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    root = listing.root
    tops = {folder for folder in listing.folders if "/" not in folder}
    prefix = "train/" if "train" in tops else ""
    test = next((name for name in SPLIT_NAMES if name in tops), None) if prefix else None
    if test is not None and options.test_fraction is not None:
        raise needless_fraction(str(root))
    classes = class_files(listing, prefix)
    if not classes:
        raise DataError(
            f"{root} holds no data set that can be read: wanted train/<class>/*.png with test/ or val/ "
            "beside it, or <class>/*.png, or *.parquet, or a saved Hugging Face data set"
        )
    if test is None and options.test_fraction is None:
        raise no_test_split(str(root))
    _require_images(root, classes, prefix)
    if test is None:
        return _divided(root, classes, options)
    test_classes = class_files(listing, f"{test}/")
    strangers = sorted(set(test_classes) - set(classes))
    if strangers:
        raise DataError(
            f"{root}: {test}/ has class {strangers[0]!r}, which train/ lacks; add its training images or remove it"
        )
    names = tuple(classes)
    train_split, test_split = (_split(root, *_paths_and_labels(files, names)) for files in (classes, test_classes))
    return RawDataset(train_split, test_split, names, str(root))


def _divided(root: Path, classes: dict[str, list[str]], options: LoadOptions) -> RawDataset:
    """Split the images of each class into training and test images."""
    names = tuple(classes)
    paths, labels = _paths_and_labels(classes, names)
    rows = stratified_split(labels, options.test_fraction or 0.0, options.seed, names)
    train, test = (_split(root, [paths[index] for index in chosen], labels[chosen]) for chosen in rows)
    return RawDataset(train, test, names, str(root))


def _require_images(root: Path, classes: dict[str, list[str]], prefix: str) -> None:
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise DataError(
            f"{root}: class {', '.join(map(repr, empty[:5]))} has no images in {prefix}{empty[0]}/ "
            f"(looked for {_SUFFIXES}); add some, or remove the folder"
        )


def _paths_and_labels(classes: dict[str, list[str]], names: tuple[str, ...]) -> tuple[list[str], Labels]:
    paths = [path for name in names for path in classes.get(name, [])]
    counts = [len(classes.get(name, [])) for name in names]
    return paths, np.repeat(np.arange(len(names), dtype=np.int64), counts)


def _split(root: Path, paths: list[str], labels: Labels) -> EncodedSplit:
    def items() -> Iterator[Item]:
        from PIL import Image

        for path in paths:
            full = root / path
            yield Item(str(full), lambda full=full: Image.open(full))  # type: ignore[misc]

    return EncodedSplit(labels, items)

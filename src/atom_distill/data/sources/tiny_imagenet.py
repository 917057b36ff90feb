"""TinyImageNet in its original layout: the folder `tiny-imagenet-200`, or the zip file that holds it.

Labels are the positions of the WordNet ids in sorted order. The labeled validation split is the test split;
the original test images have no labels.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.data.cache.raw import EncodedSplit, Item, NotHereError, RawDataset
from atom_distill.data.sources.archive_errors import ARCHIVE_ERRORS

if TYPE_CHECKING:
    from PIL.Image import Image

_FOLDER = "tiny-imagenet-200"
_ARCHIVE = f"{_FOLDER}.zip"
_MARK = "val/val_annotations.txt"


@dataclass(frozen=True)
class _Tree:
    """A folder or a zip file: the relative paths of its files, and how to read one."""

    name: str
    files: tuple[str, ...]
    read: Callable[[str], bytes]

    def text(self, path: str) -> str:
        try:
            return self.read(path).decode("utf-8")
        except (KeyError, *ARCHIVE_ERRORS) as error:
            raise DataError(f"{self.name}: {path} cannot be read ({error}); fetch the set again") from error

    def item(self, path: str) -> Item:
        def open_image() -> Image:
            from PIL import Image as PillowImage

            return PillowImage.open(io.BytesIO(self.read(path)))

        return Item(f"{self.name}/{path}", open_image)


def find(where: Path) -> RawDataset:
    """Read the set from its folder, from the folder that holds it, or from its zip file.

    Raises:
        NotHereError: `where` holds none of these.
        DataError: it does, but files are missing or damaged.
    """
    for folder in (where, where / _FOLDER):
        if (folder / _MARK).is_file():
            return _assemble(_folder_tree(folder))
    for archive in (where, where / _ARCHIVE):
        if archive.name == _ARCHIVE and archive.is_file():
            return _assemble(_zip_tree(archive))
    raise NotHereError(f"{where} holds neither {_FOLDER}/ nor {_ARCHIVE}")


def _folder_tree(folder: Path) -> _Tree:
    files = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.glob("train/*/images/*")))
    return _Tree(str(folder), files, lambda path: (folder / path).read_bytes())


def _zip_tree(archive: Path) -> _Tree:
    try:
        opened = zipfile.ZipFile(archive)
        names = opened.namelist()
    except ARCHIVE_ERRORS as error:
        raise DataError(f"{archive} cannot be unpacked ({error}); fetch it again") from error
    prefix = f"{_FOLDER}/"
    files = tuple(sorted(name.removeprefix(prefix) for name in names if name.startswith(f"{prefix}train/")))
    return _Tree(str(archive), files, lambda path: opened.read(prefix + path))  # from any thread


def _assemble(tree: _Tree) -> RawDataset:
    train = [path for path in tree.files if path.lower().endswith((".jpeg", ".jpg"))]
    ids = sorted({PurePosixPath(path).parts[1] for path in train})
    if not ids:
        raise DataError(f"{tree.name} has no images like train/<wnid>/images/*.JPEG; fetch the set again")
    label_of = {wnid: label for label, wnid in enumerate(ids)}
    test, test_ids = _validation(tree, label_of)
    return RawDataset(
        _split(tree, train, [label_of[PurePosixPath(path).parts[1]] for path in train]),
        _split(tree, test, [label_of[wnid] for wnid in test_ids]),
        _class_names(tree, ids),
        tree.name,
    )


def _validation(tree: _Tree, label_of: dict[str, int]) -> tuple[list[str], list[str]]:
    """Read image paths and WordNet ids from the annotations: file name, id and a box, separated by tabs."""
    paths, ids = [], []
    for line in tree.text(_MARK).splitlines():
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in label_of:
            raise DataError(f"{tree.name}: {_MARK} has a line without a known class: {line!r}")
        # only the last part of the name, so that no line can point outside of the folder
        paths.append(f"val/images/{PurePosixPath(fields[0]).name}")
        ids.append(fields[1])
    return paths, ids


def _class_names(tree: _Tree, ids: list[str]) -> tuple[str, ...]:
    """Return the first WordNet term of each class, followed by the id where two classes share the term."""
    try:
        lines = tree.read("words.txt").decode("utf-8").splitlines()
    except (KeyError, *ARCHIVE_ERRORS):
        return tuple(ids)
    terms = dict(line.split("\t", 1) for line in lines if "\t" in line)
    names = [terms.get(wnid, wnid).split(",")[0].strip() for wnid in ids]
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, ids, strict=True))


def _split(tree: _Tree, paths: list[str], labels: list[int]) -> EncodedSplit:
    return EncodedSplit(np.asarray(labels, np.int64), lambda: (tree.item(path) for path in paths))

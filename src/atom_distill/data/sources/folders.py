"""Class folders: `train/<class>/*` with a test split beside it, or one level of classes that is to be split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import EncodedSplit, Item, Labels, LoadOptions, RawDataset
from atom_distill.data.sources.listing import Listing, endings, is_image
from atom_distill.data.sources.metadata import NAMES as METADATA
from atom_distill.data.sources.metadata import files_of_classes
from atom_distill.data.sources.splits import TRAIN, Splits, choose_splits, no_test_split, split_of, stratified_split

_SHOWN = 5
Classes = dict[str, list[str]]
"""The image files of each class, by name."""


@dataclass
class Folder:
    """A folder of a listing.

    Attributes:
        path: relative to the root of the listing; "" is the root.
        images: the images directly in it.
        folders: by name.
    """

    path: str
    images: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)

    def everything(self) -> list[str]:
        """Return the images in the folder and below it, sorted."""
        return sorted([*self.images, *(path for folder in self.folders.values() for path in folder.everything())])

    def classes(self) -> Classes:
        """Return the images of each folder in it, also of empty ones."""
        return {name: folder.everything() for name, folder in sorted(self.folders.items())}

    def filled(self) -> set[str]:
        """Return the names of the folders in it that hold images."""
        return {name for name, folder in self.folders.items() if folder.has_images()}

    def has_images(self) -> bool:
        """Return whether there is an image in the folder or below it."""
        return bool(self.images) or any(folder.has_images() for folder in self.folders.values())

    def holds_classes(self) -> bool:
        """Return whether its images are in folders, but for stray ones."""
        return len(self.everything()) > 2 * len(self.images)


def tree(listing: Listing) -> Folder:
    """Return the root folder of a listing, with the images in it."""
    folders = {"": Folder("")}
    for path in listing.folders:
        parent, _, name = path.rpartition("/")
        folders[path] = folders[parent].folders[name] = Folder(path)
    for path, _, _ in listing.files:
        if is_image(path):
            folders[path.rpartition("/")[0]].images.append(path)
    return folders[""]


def read_folders(listing: Listing, options: LoadOptions) -> RawDataset:
    """Read class folders, or folders with a metadata file; classes are numbered in the sorted order of their names.

    Raises:
        DataError: there are no classes, one is only in the test split, or there is no test split.
        ConfigError: an option does not fit, such as a test fraction though there is a test split.
    """
    source = str(listing.root)
    _tell_left_out(listing)
    options.refuse(f"{source} holds image files", "image_column")
    parts = files_of_classes(listing, options)
    if not parts:
        options.refuse(f"{source} has no metadata file: the classes are its folders", "label_column")
        parts = _parts_of(tree(listing), source, options)
    if list(parts) == [""]:
        _tell_unused(listing, [parts[""]])
        return _divided(listing, parts[""], options)
    chosen = choose_splits(parts, source, options)
    _tell_unused(listing, [parts[name] for name in chosen if name is not None])
    train = parts[chosen.train]
    if chosen.test is None:
        return _divided(listing, train, options)
    return _in_two(listing, train, parts[chosen.test], chosen)


def _in_two(listing: Listing, train: Classes, test: Classes, chosen: Splits) -> RawDataset:
    strangers = sorted(name for name, files in test.items() if name not in train and files)
    if strangers:
        raise DataError(
            f"{listing.root}: {chosen.test}/ has class {strangers[0]!r}, which {chosen.train}/ lacks; "
            "add its training images or remove it"
        )
    names = tuple(train)
    train_split, test_split = (_split(listing, *_paths_and_labels(files, names)) for files in (train, test))
    return RawDataset(train_split, test_split, names, str(listing.root))


def _divided(listing: Listing, classes: Classes, options: LoadOptions) -> RawDataset:
    """Split the images of each class into training and test images."""
    if options.test_fraction is None:
        raise no_test_split(str(listing.root))
    names = tuple(classes)
    paths, labels = _paths_and_labels(classes, names)
    rows = stratified_split(labels, options.test_fraction, options.seed)
    train, test = (_split(listing, [paths[index] for index in part], labels[part]) for part in rows)
    return RawDataset(train, test, names, str(listing.root))


# Finding the splits


def _parts_of(root: Folder, source: str, options: LoadOptions) -> dict[str, Classes]:
    """Return the classes of each part that could be a split; one part, named "", if the root holds the classes.

    Raises:
        DataError: there are no classes, or it is not clear whether a folder is a split or a class.
    """
    root = _without_wrapper(root, source)
    if not root.filled():
        raise DataError(
            f"{source} holds no data set that can be read: wanted train/<class>/*.png with test/ or val/ "
            "beside it, or <class>/*.png, or *.parquet, or a saved Hugging Face data set"
        )
    parts = {name: folder for name, folder in root.folders.items() if folder.holds_classes()}
    train = next((name for name in parts if split_of(name) == TRAIN), None)
    if train is None:
        return _parts_without_train(root, parts, source)
    parts[train] = _without_wrapper(parts[train], source)
    known = parts[train].filled()
    inner = {name: part if part.filled() & known else _without_wrapper(part, source) for name, part in parts.items()}
    labeled = {name: part.classes() for name, part in inner.items() if part.filled() & known}
    others = root.filled() - labeled.keys()
    has_test = options.test_split is not None or any(split_of(name) not in (None, TRAIN) for name in labeled)
    classlike = sorted(name for name in others if split_of(name) is None)
    if classlike and not has_test:
        raise DataError(
            f"{source}: it is not clear whether train is a split or a class beside {_some(classlike)}; "
            "put all classes into train/, or rename it"
        )
    unlabeled = sorted(name for name in others if split_of(name))
    if unlabeled:
        note(f"{source}: {_some(unlabeled)} not used: no folders there are named as the classes in {train}")
    return labeled


def _parts_without_train(root: Folder, parts: dict[str, Folder], source: str) -> dict[str, Classes]:
    """Return the root's folders as classes, unless they look like splits."""
    filled = root.filled()
    named = sorted(name for name in filled if split_of(name))
    if len(named) == len(filled):
        flat = [name for name in named if name not in parts]
        reason = f"{flat[0]}/ has no class folders" if flat else "none of them is train"
        raise DataError(
            f"{source}: {_some(named)} {'are names of splits' if len(named) > 1 else 'is the name of a split'}, but "
            f"{reason}; wanted train/<class>/*.png and test/<class>/*.png, or a metadata.csv with file_name and label"
        )
    for name in parts.keys() & named:
        kin = [other for other, part in parts.items() if other != name and part.filled() & parts[name].filled()]
        if kin:
            raise DataError(
                f"{source}: {name}/ has the classes of {kin[0]}/, but there is no train/; rename it to train"
            )
    kinds = {frozenset(part.filled()) for part in parts.values()}
    if len(parts) == len(filled) > 1 and len(kinds) == 1:
        note(
            f"{source}: the classes are {_some(filled)}, though each holds the same folders ({_some(kinds.pop())}); "
            "if they are splits, rename them to train and test"
        )
    if named:
        note(f"{source}: {_some(named)} taken for a class like {min(filled - set(named))}, not for a split")
    return {"": root.classes()}


def _without_wrapper(folder: Folder, source: str) -> Folder:
    """Return the folder that holds the classes: `folder`, or the only one with images in it, if that has folders."""
    while len(folder.filled()) == 1 and not folder.images:
        (name,) = folder.filled()
        inner = folder.folders[name]
        if not inner.holds_classes() or (not folder.path and split_of(name)):
            break
        note(f"{source}: {inner.path}/ is the only folder with images there, so its folders are the classes")
        folder = inner
    return folder


def _some(names: Collection[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")


def _tell_left_out(listing: Listing) -> None:
    for sentence in listing.left_out[:_SHOWN]:
        note(f"{listing.root}: {sentence}")
    if len(listing.left_out) > _SHOWN:
        note(f"{listing.root}: ... and {len(listing.left_out) - _SHOWN} more folders are left out")
    files = (path for path, _, _ in listing.files if "/" in path and path.rpartition("/")[2] not in METADATA)
    skipped = endings(path for path in files if not is_image(path))
    if skipped:
        note(f"{listing.root}: left out files that Pillow does not read as images: {skipped}")


def _tell_unused(listing: Listing, parts: Sequence[Classes]) -> None:
    """Say how many images of which folders are in none of the classes that are used."""
    used = {path for classes in parts for files in classes.values() for path in files}
    unused = Counter(
        path.rpartition("/")[0].partition("/")[0] or "the folder itself"
        for path, _, _ in listing.files
        if is_image(path) and path not in used
    )
    if unused:
        told = [f"{count} in {folder}" for folder, count in unused.most_common(_SHOWN)]
        note(f"{listing.root}: images that are not used: {', '.join(told)}{', ...' if len(unused) > _SHOWN else ''}")


# Reading


def _paths_and_labels(classes: Classes, names: tuple[str, ...]) -> tuple[list[str], Labels]:
    paths = [path for name in names for path in classes.get(name, [])]
    counts = [len(classes.get(name, [])) for name in names]
    return paths, np.repeat(np.arange(len(names), dtype=np.int64), counts)


def _split(listing: Listing, paths: list[str], labels: Labels) -> EncodedSplit:
    def items() -> Iterator[Item]:
        from PIL import Image

        for path in paths:
            yield Item(f"{listing.root}/{path}", lambda path=path: Image.open(listing.open(path)))  # type: ignore[misc]

    return EncodedSplit(labels, items)

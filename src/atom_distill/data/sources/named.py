"""The named data sets, and the places where each is looked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from atom_distill.base.cache_folder import cache_path
from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.progress import note
from atom_distill.base.registry import Registry
from atom_distill.data.cache import store
from atom_distill.data.cache.raw import EncodedSplit, Item, LoadOptions, NotHereError, RawDataset
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.sources import cifar, hugging_face, npm, tiny_imagenet
from atom_distill.data.sources.cifar_names import CIFAR10_CLASSES, CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from atom_distill.data.sources.digits import load_digits
from atom_distill.data.sources.hugging_face import HubSet
from atom_distill.data.sources.listing import stamp
from atom_distill.data.sources.splits import needless_fraction

_ARCHIVES = frozenset([".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".parquet"])
Found = TypeVar("Found", RawDataset, ImageDataset)


@dataclass(frozen=True)
class PublishedSet:
    """A set that others publish, looked for in `data_dir`, in the cache, on the hub, and in one more place.

    Attributes:
        name: also that of its folder in the cache.
        find: reads a published copy from a folder or file.
        sizes: how many training and test images there are; a copy with others does not get the name.
        hub_set: where it is on the hub.
        advice: which file to fetch by hand, and from where.
        last: fetches it from one more place, or None.
    """

    name: str
    find: Callable[[Path], RawDataset]
    sizes: tuple[int, int]
    hub_set: HubSet
    advice: str
    last: Callable[[], RawDataset] | None = None

    @property
    def slot(self) -> store.Slot:
        """Return its place in the cache, whatever copy is there."""
        return store.Slot(cache_path(self.name), self.name)

    def load(self, data_dir: Path | None, *, refresh: bool) -> ImageDataset:
        """Open the set from the first place that has it, and keep it in the cache."""
        told = "`data_dir` (not given)"
        if data_dir is not None:
            try:
                return self._load_copy(data_dir, refresh=refresh)
            except NotHereError as error:
                note(f"{error}; looking elsewhere")
                told = str(error)
        if not refresh and self.slot.is_filled():
            return self._whole(store.load(self.slot), f"delete {self.slot.folder}, and it is made again")
        return store.save(self._fetched(told, refresh=refresh), self.slot, LoadOptions())

    def has_copy(self, data_dir: Path) -> bool:
        """Return whether there is a copy of the set, intact or not."""
        try:
            self.find(data_dir)
        except NotHereError:
            return False
        except DataError:
            pass
        return True

    def _load_copy(self, data_dir: Path, *, refresh: bool) -> ImageDataset:
        """Open the user's copy; unless it is to be refreshed, it is kept beside another one that is in the cache.

        Raises:
            NotHereError: `data_dir` holds no copy.
        """
        if not data_dir.exists():
            raise DataError(f"`data_dir={data_dir}` does not exist")
        slot = replace(self.slot, origin=_origin_of(data_dir))
        if not refresh and slot.folder.exists() and not slot.is_filled():
            key = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()
            slot = replace(slot, folder=cache_path(f"{self.name}-{key[:12]}"))
        if not refresh and slot.is_filled():
            return store.load(slot)
        return store.save(self._whole(self.find(data_dir)), slot, LoadOptions())

    def _fetched(self, told: str, *, refresh: bool) -> RawDataset:
        tried = [told, f"the cache ({self.slot.folder}{', not used because of `refresh`' if refresh else ''})"]
        for fetch in (lambda: hugging_face.fetch(self.hub_set), self.last):
            try:
                if fetch is not None:
                    return self._whole(fetch())
            except NotHereError as error:
                tried.append(str(error))
        raise DataError(
            f"data set {self.name} was not found. Tried: {'; '.join(tried)}. "
            f"What to do: {self.advice}, and pass its folder as `data_dir`; "
            "or point ATOM_DATA to a cache folder that has the set"
        )

    def _whole(self, found: Found, advice: str = "fetch it again, or give it as a path") -> Found:
        """Return a set if it has all images: scores on some of them must not stand under its name."""
        sizes = (len(found.train), len(found.test))
        if sizes != self.sizes:
            raise DataError(
                f"{found.source} holds {sizes[0]} training and {sizes[1]} test images and not {self.sizes[0]} and "
                f"{self.sizes[1]}, so it is not all of {self.name}; {advice}"
            )
        return found


def _origin_of(data_dir: Path) -> str:
    """Return what identifies a copy: its place, and the stamps of archives there, beside which runs may be written."""
    place = data_dir.resolve()
    files = sorted(path for path in (place, *place.glob("*")) if path.suffix in _ARCHIVES and path.is_file())
    facts = [str(place), *((str(path), *stamp(path)) for path in files)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


SOURCES: Registry[PublishedSet | Callable[[], ImageDataset]] = Registry("data set")
"""Sets that others publish, and functions that return a set that comes with a library."""
SOURCES.register("digits")(load_digits)


def is_named(name_or_path: str | Path) -> bool:
    """Return whether this is the name of a set; a `Path` never is."""
    return isinstance(name_or_path, str) and name_or_path in SOURCES


def has_copies(name: str) -> bool:
    """Return whether a named set is read from a copy on a disk, and does not come with a library."""
    return isinstance(SOURCES.get(name), PublishedSet)


def needs_no_fetching(name: str, data_dir: Path | None) -> bool:
    """Return whether a named set comes with a library, is in the cache, or has a copy in `data_dir`."""
    source = SOURCES.get(name)
    if not isinstance(source, PublishedSet) or source.slot.folder.exists():
        return True
    return data_dir is not None and source.has_copy(data_dir)


def load_named(name: str, data_dir: Path | None, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    """Load a named set, resized if `options` ask for another size than its own.

    Raises:
        DataError: the set cannot be found or read.
        CacheError: its cached copy is damaged.
        ConfigError: an option does not fit the set.
    """
    if options.test_fraction is not None:
        raise needless_fraction(name)
    options.refuse(f"{name} has splits and columns that are known", "test_split", "image_column", "label_column")
    options.refuse(f"a copy of {name} must hold all images (give another as a path)", "skip_unreadable")
    source = SOURCES.get(name)
    if isinstance(source, PublishedSet):
        dataset = source.load(data_dir, refresh=refresh)
    elif data_dir is None:
        dataset = source()
    else:
        raise ConfigError(f"{name} comes with a library, not from a folder; leave out `data_dir`")
    if options.image_size is None or dataset.image_shape[1:] == (options.image_size, options.image_size):
        return dataset
    return _resized(dataset, options, refresh=refresh)


def _resized(dataset: ImageDataset, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    """Return a set at another size, cached beside the original."""
    folder = cache_path(f"{dataset.name}-{options.image_size}px")
    origin = hashlib.sha256(dataset.fingerprint.encode()).hexdigest()
    slot = store.Slot(folder, dataset.name, origin)
    if not refresh and slot.is_filled():
        return store.load(slot)
    raw = RawDataset(_reopen(dataset.train), _reopen(dataset.test), dataset.class_names, dataset.source)
    return store.save(raw, slot, options)


def _reopen(split: Split) -> EncodedSplit:
    """Return decoded images in the form of images to open, so that they are resized as files are."""
    from PIL import Image

    def item(index: int) -> Item:
        pixels = split.images[index].permute(1, 2, 0).numpy()
        gray = pixels.shape[2] == 1
        return Item(f"image {index}", lambda: Image.fromarray(pixels[..., 0] if gray else np.ascontiguousarray(pixels)))

    return EncodedSplit(split.labels.numpy(), lambda: map(item, range(len(split))))


def _find_cifar10(where: Path) -> RawDataset:
    try:
        return npm.find_cifar10(where)
    except NotHereError:
        return cifar.find_cifar10(where)


_CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_CIFAR100_ADVICE = f"fetch cifar-100-python.tar.gz from {_CIFAR_PAGE}"

for _published in (
    PublishedSet(
        "cifar10",
        _find_cifar10,
        (50_000, 10_000),
        HubSet("uoft-cs/cifar10", "img", "label", CIFAR10_CLASSES),
        advice=f"fetch cifar-10-python.tar.gz from {_CIFAR_PAGE}",
        last=npm.fetch_cifar10,
    ),
    PublishedSet(
        "cifar100",
        cifar.find_cifar100,
        (50_000, 10_000),
        HubSet("uoft-cs/cifar100", "img", "fine_label", CIFAR100_CLASSES),
        advice=_CIFAR100_ADVICE,
    ),
    PublishedSet(
        "cifar100-coarse",
        cifar.find_cifar100_coarse,
        (50_000, 10_000),
        HubSet("uoft-cs/cifar100", "img", "coarse_label", CIFAR100_SUPERCLASSES),
        advice=_CIFAR100_ADVICE,
    ),
    PublishedSet(
        "tiny-imagenet",
        tiny_imagenet.find,
        (100_000, 10_000),
        HubSet("zh-plus/tiny-imagenet", "image", "label"),
        advice="fetch tiny-imagenet-200.zip from http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
):
    SOURCES.register(_published.name)(_published)

"""The one way in: a name or a path to an `ImageDataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.base.files import cache_root
from atom_distill.base.registry import unknown_name
from atom_distill.data.cache import store
from atom_distill.data.cache.raw import EncodedSplit, Item, LoadOptions, RawDataset
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.sources import paths
from atom_distill.data.sources.named import SOURCES, Published, Request
from atom_distill.data.sources.splits import check_fraction, needless_fraction
from atom_distill.data.subset import only_classes
from atom_distill.processes.ranks import current_ranks


def load_dataset(
    name_or_path: str | Path,
    *,
    data_dir: str | Path | None = None,
    image_size: int | None = None,
    test_fraction: float | None = None,
    classes: int | Sequence[str] | None = None,
    skip_unreadable: bool = False,
    seed: int = 0,
    refresh: bool = False,
) -> ImageDataset:
    """Load a data set by name, or from class folders, parquet files or a saved Hugging Face set.

    A known name wins over a file of that name; write `./digits`, or pass a `Path`, for the latter. Decoded
    images are cached in `cache_root()` and opened as memory maps.

    Args:
        name_or_path: `digits`, `cifar10`, `cifar100`, `cifar100-coarse`, `tiny-imagenet`, or a path.
        data_dir: a published copy of a named set: its archive, its folder, or the folder that holds either.
        image_size: height and width in pixels; images are resized and cropped to it. None keeps their size.
        test_fraction: share of each class to test on, for a path without a test split, in (0, 1).
        classes: names of the classes to keep, in the order of their new labels; or how many, from the first.
        skip_unreadable: leave out images that cannot be decoded, and count them.
        seed: chooses the images of the test fraction. Keep it when only the seed of a run changes, or the
            images that one run trains on are tested by another.
        refresh: decode (and fetch) again although the set is cached.

    Raises:
        UnknownNameError: it is neither a known name nor a path.
        DataError: the set cannot be found, read or used; the message says what to do.
        CacheError: the cached copy is damaged.
        ConfigError: an option is out of range, or does not fit the set.
    """
    options = LoadOptions(image_size, test_fraction, skip_unreadable, seed)
    if test_fraction is not None:
        check_fraction(test_fraction)
    folder = Path(data_dir).expanduser() if data_dir is not None else None
    everyone = current_ranks()
    fresh = refresh and everyone.is_main  # the others open what the first has decoded
    dataset = everyone.rank0_first(lambda: _load(name_or_path, folder, options, refresh=fresh))
    request = _request(name_or_path, folder, options)
    if classes is not None:
        dataset = only_classes(dataset, classes)
        request["classes"] = classes if isinstance(classes, int) else list(classes)
    return replace(dataset, request=request)


def is_at_hand(name_or_path: str | Path, *, data_dir: str | Path | None = None, **_options: Any) -> bool:
    """Say whether a set can be loaded without fetching anything.

    Args:
        name_or_path: as of `load_dataset`, and so are the others, which do not matter here.
        data_dir: as there.
    """
    if data_dir is not None and Path(data_dir).expanduser().exists():
        return True
    if isinstance(name_or_path, str) and name_or_path in SOURCES:
        source = SOURCES.get(name_or_path)
        return not isinstance(source, Published) or (cache_root() / source.name).exists()
    return Path(name_or_path).expanduser().exists()


def _load(name_or_path: str | Path, data_dir: Path | None, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    name = str(name_or_path)
    if not name.strip():
        raise unknown_name("data set", name, SOURCES.names())
    if isinstance(name_or_path, str) and name in SOURCES:
        return _load_named(name, data_dir, options, refresh=refresh)
    path = Path(name_or_path).expanduser()
    if path.exists():
        if data_dir is not None:
            raise ConfigError(f"--data-dir is for named sets; {name} is a path already, so leave it out")
        return paths.load_path(path, options, refresh=refresh)
    error = unknown_name("data set", name, SOURCES.names())
    raise UnknownNameError(
        f"{error}; or a path to class folders, parquet files or a saved Hugging Face data set (no such path here)"
    )


def _request(name_or_path: str | Path, data_dir: Path | None, options: LoadOptions) -> dict[str, Any]:
    """Give the arguments that bring the set back, from any working folder."""
    known = isinstance(name_or_path, str) and name_or_path in SOURCES
    wanted: dict[str, Any] = {
        "name_or_path": name_or_path if known else str(Path(name_or_path).expanduser().resolve()),
        "data_dir": None if data_dir is None else str(data_dir.resolve()),
        "image_size": options.image_size,
        "test_fraction": options.test_fraction,
    }
    request = {name: value for name, value in wanted.items() if value is not None}
    if options.skip_unreadable:
        request["skip_unreadable"] = True
    if options.seed:
        request["seed"] = options.seed
    return request


def _load_named(name: str, data_dir: Path | None, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    if options.test_fraction is not None:
        raise needless_fraction(name)
    own_size = LoadOptions(skip_unreadable=options.skip_unreadable)
    dataset = SOURCES.get(name)(Request(data_dir, own_size, refresh))
    if options.image_size is None or dataset.image_shape[1:] == (options.image_size, options.image_size):
        return dataset
    return _resized(dataset, options, refresh=refresh)


def _resized(dataset: ImageDataset, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    """Give a named set at another size, cached beside the original."""
    folder = cache_root() / f"{dataset.name}-{options.image_size}px"
    origin = hashlib.sha256(dataset.fingerprint.encode()).hexdigest()
    slot = store.Slot(folder, dataset.name, f"{dataset.name} --image-size {options.image_size}", origin)
    if not refresh and slot.is_filled():
        return store.load(slot)
    raw = RawDataset(_reopen(dataset.train), _reopen(dataset.test), dataset.class_names, dataset.source)
    return store.save(raw, slot, options)


def _reopen(split: Split) -> EncodedSplit:
    """Present decoded images as images to open, so that they take the same way as files."""
    from PIL import Image

    def item(index: int) -> Item:
        pixels = split.images[index].permute(1, 2, 0).numpy()
        gray = pixels.shape[2] == 1
        return Item(f"image {index}", lambda: Image.fromarray(pixels[..., 0] if gray else np.ascontiguousarray(pixels)))

    return EncodedSplit(split.labels.numpy(), lambda: map(item, range(len(split))))

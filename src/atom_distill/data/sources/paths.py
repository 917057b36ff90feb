"""Loading the data set at a path, whatever its format."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from atom_distill.base.cache_folder import cache_path
from atom_distill.base.errors import DataError
from atom_distill.base.own_folders import written_here
from atom_distill.data.cache import store
from atom_distill.data.cache.raw import LoadOptions, RawDataset
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.folders import read_folders
from atom_distill.data.sources.hugging_face import read_saved
from atom_distill.data.sources.listing import Listing, is_image, scan, scan_zip, stamp
from atom_distill.data.sources.npz import read_npz
from atom_distill.data.sources.parquet import read_parquet

_SAVED_DICT, _SAVED_SINGLE = "dataset_dict.json", {"dataset_info.json", "state.json"}
_SETS_IN_A_FILE = (".npz", ".parquet", ".zip")
_SHOWN = 3
_READER = 3
"""Raised when files are read in another way, so that what was cached before is not used."""
_MAX_NAME = 80
"""Characters of a set's name, which is part of file names."""


def load_path(path: Path, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    """Load the set at an existing path, from the cache if it has not changed since.

    Raises:
        DataError: there is no data set that can be read.
        CacheError: its cached copy is damaged.
    """
    path = path.resolve()
    own = written_here(path)
    if own is not None:
        raise DataError(f"{path} holds {own} of this tool, not a data set; give the folder of the real images")
    listing = scan(path) if path.is_dir() else _single(path)
    slot = _slot(path, listing, options)
    if not refresh and slot.is_filled():
        return store.load(slot)
    return store.save(_read(path, listing, options), slot, options)


def _single(path: Path) -> Listing:
    return Listing(path.parent, ((path.name, *stamp(path)),), ())


def _slot(path: Path, listing: Listing, options: LoadOptions) -> store.Slot:
    """Return the slot of a path and options; its origin tells whether the files are still the same."""
    stem = path.stem if path.is_file() else path.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:_MAX_NAME] or "data"
    key = hashlib.sha256(json.dumps([str(path), asdict(options)]).encode()).hexdigest()
    origin = hashlib.sha256(json.dumps([_READER, listing.files, listing.folders]).encode()).hexdigest()
    return store.Slot(cache_path("folders", f"{name}-{key[:12]}"), name, origin)


def _read(path: Path, listing: Listing, options: LoadOptions) -> RawDataset:
    names = {name for name, _, _ in listing.files}
    if path.is_dir() and (_SAVED_DICT in names or names >= _SAVED_SINGLE):
        return read_saved(path, options)
    tables = sorted(name for name in names if name.lower().endswith(".parquet"))
    if tables:
        _require_tables_only(path, listing, tables)
        return read_parquet([listing.root / name for name in tables], path, options)
    if path.suffix.lower() == ".zip":
        listing = scan_zip(path)
    elif path.suffix.lower() == ".npz":
        return read_npz(path, options)
    elif path.is_file():
        raise DataError(f"{path} is a file but neither parquet, npz nor zip; give one of these, or a folder of images")
    _require_images(path, listing)
    return read_folders(listing, options)


def _first_image(listing: Listing) -> str | None:
    return next((name for name, _, _ in listing.files if is_image(name)), None)


def _require_tables_only(path: Path, listing: Listing, tables: list[str]) -> None:
    """Raise an error if a folder with parquet files holds images too: either could be the data."""
    image = _first_image(listing)
    if image is None or path.is_file():
        return
    way = f"give {path / tables[0]}" if len(tables) == 1 else "move them into a folder of their own and give that"
    raise DataError(
        f"{path} holds images ({image}) and {_some(tables)}: which are the data? For the images, move the parquet "
        f"{'file' if len(tables) == 1 else 'files'} out of it; for the tables, {way}"
    )


def _require_images(path: Path, listing: Listing) -> None:
    """Raise an error if a folder or zip file without images holds files that may be data sets themselves."""
    found = [name for name, _, _ in listing.files if PurePosixPath(name).suffix.lower() in _SETS_IN_A_FILE]
    if not found or _first_image(listing) is not None:
        return
    if path.is_file():
        way = "unpack it, and give what comes out of it"
    elif len(found) == 1:
        way = f"give the file, {path / found[0]}"
    else:
        way = "give one of these files, or unpack zip files, each into a folder of its name (train/, test/)"
    raise DataError(f"{path} holds {_some(found)} and no images; {way}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")

"""Any data set of the Hugging Face hub, by `owner/name`."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict

from atom_distill.base.cache_folder import cache_path
from atom_distill.base.errors import DataError
from atom_distill.data.cache import store
from atom_distill.data.cache.raw import LoadOptions, NotHereError
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.hugging_face import fetch_repository

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def is_repository(name: object) -> bool:
    """Return whether a text has the form `owner/name`; a `Path` never is one."""
    return isinstance(name, str) and _REPOSITORY.fullmatch(name) is not None


def is_cached(repository: str, options: LoadOptions) -> bool:
    """Return whether a set was fetched with these options before."""
    return _slot(repository, options).folder.exists()


def load_repository(repository: str, options: LoadOptions, *, refresh: bool) -> ImageDataset:
    """Load a set from the cache, or from the hub.

    Raises:
        DataError: the hub cannot be reached or does not provide it, or it cannot be read as labeled images.
        CacheError: its cached copy is damaged.
        ConfigError: an option does not fit the set.
    """
    slot = _slot(repository, options)
    if not refresh and slot.is_filled():
        return store.load(slot)
    try:
        raw = fetch_repository(repository, options)
    except NotHereError as error:
        raise DataError(
            f"data set {repository} was not found. Tried: the path {repository} (there is no such file or folder); "
            f"{error}. "
            "What to do: correct the path or the `owner/name`; for a private or gated set, ask for access on its page "
            "and log in with `hf auth login`; without a network, give the path of a copy"
        ) from error
    return store.save(raw, slot, options)


def _slot(repository: str, options: LoadOptions) -> store.Slot:
    key = hashlib.sha256(json.dumps([repository, asdict(options)]).encode()).hexdigest()[:12]
    name = repository.partition("/")[2]
    return store.Slot(cache_path("hub", f"{repository.replace('/', '--')}-{key}"), name)

"""Sets of the Hugging Face `datasets` library: from the hub, or saved on disk."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atom_distill.base.cache_folder import make_hub_cache_writable
from atom_distill.base.errors import DataError
from atom_distill.base.plain_text import reason_of
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import LoadOptions, NotHereError, RawDataset
from atom_distill.data.sources.arrow_tables import ROWS_AT_ONCE, Table, read_tables
from atom_distill.data.sources.hub_files import ParquetFiles, fetch_files, remembered_files

_PROBE_SECONDS = 8.0
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


@dataclass(frozen=True)
class HubSet:
    """A data set on the hub: its repository and columns; `class_names` overrides the hub's spelling."""

    repository: str
    image: str
    label: str
    class_names: tuple[str, ...] | None = None


def fetch(hub_set: HubSet) -> RawDataset:
    """Download a set whose columns are known; see `fetch_repository`."""
    options = LoadOptions(image_column=hub_set.image, label_column=hub_set.label)
    return fetch_repository(hub_set.repository, options, hub_set.class_names)


def fetch_repository(repository: str, options: LoadOptions, class_names: tuple[str, ...] | None = None) -> RawDataset:
    """Download a set, or take it from the hub client's own cache, and read it; without a network this fails at once.

    Args:
        repository: `owner/name`.
        options: the columns and the splits.
        class_names: instead of those that the set declares.

    Raises:
        NotHereError: the hub cannot be reached, or does not provide the set.
        DataError: a column cannot be found, or there is no test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    make_hub_cache_writable()
    offline = any(os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON") for name in _OFFLINE_VARIABLES)
    if not offline:
        _probe(repository)
        note(f"fetching {repository} from the Hugging Face hub")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            found = (remembered_files(repository) if offline else None) or fetch_files(repository)
    except DataError:
        raise
    except Exception as error:  # the hub's client, the network and the builders each raise their own types
        raise NotHereError(f"the Hugging Face hub did not give {repository} ({reason_of(error)})") from error
    source = f"Hugging Face hub: {repository}"
    if isinstance(found, ParquetFiles):
        return read_tables(found.tables(source), source, options, class_names)
    return _read(found, source, options, class_names)


def read_saved(path: Path, options: LoadOptions) -> RawDataset:
    """Read a `Dataset` or `DatasetDict` that was saved with `save_to_disk`.

    Raises:
        DataError: it cannot be read, a column cannot be found, or there is no test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    import datasets

    try:
        found = datasets.load_from_disk(str(path))
    except Exception as error:  # the library raises its own and Arrow's types for damaged files
        raise DataError(
            f"{path} is not a readable saved Hugging Face data set ({reason_of(error)}); save it again"
        ) from error
    return _read(found, str(path), options)


def _read(found: Any, source: str, options: LoadOptions, class_names: tuple[str, ...] | None = None) -> RawDataset:
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    tables = {name: _table(dataset, f"{source} ({name})") for name, dataset in splits.items()}
    return read_tables(tables, source, options, class_names)


def _table(dataset: Any, name: str) -> Table:
    def batches(columns: list[str]) -> Iterator[Any]:
        # the arrow format yields the stored bytes and decodes nothing
        for batch in dataset.select_columns(columns).with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
            yield batch.replace_schema_metadata(schema.metadata)

    schema = dataset.features.arrow_schema
    return Table(name, schema, batches, Path())


def _probe(repository: str) -> None:
    """Send the hub one request with a deadline, since its downloader would retry for minutes."""
    failure: list[Exception] = []

    def ask() -> None:
        try:
            from huggingface_hub import HfApi

            endpoint = os.environ.get("HF_ENDPOINT") or None
            HfApi(endpoint=endpoint).dataset_info(repository, timeout=_PROBE_SECONDS)
        except Exception as error:
            failure.append(error)

    # a thread, because the client's timeout does not cover the time that a name server takes
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * _PROBE_SECONDS)
    if thread.is_alive():
        raise NotHereError(f"the Hugging Face hub did not answer within {2 * _PROBE_SECONDS:.0f} s")
    if failure:
        raise NotHereError(
            f"the Hugging Face hub cannot be reached for {repository} ({reason_of(failure[0])})"
        ) from failure[0]

"""Downloading a set from the Hugging Face hub: its parquet files as they are, or what `datasets` makes of others."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from atom_distill.base.cache_folder import cache_path
from atom_distill.base.errors import DataError
from atom_distill.base.files import read_json_as, write_json
from atom_distill.data.sources.arrow_columns import HF_METADATA, declared_names
from atom_distill.data.sources.arrow_tables import Table
from atom_distill.data.sources.parquet import parquet_table


@dataclass(frozen=True)
class ParquetFiles:
    """The downloaded files of a set.

    Attributes:
        splits: name of each split to the paths of its files, in order.
        declared: columns as the set's page describes them, for files that do not do so themselves; None if it does not.
    """

    splits: dict[str, list[str]]
    declared: str | None

    def tables(self, source: str) -> dict[str, Table]:
        """Return the table of each split; each file's labels are read with the class names of that file.

        Raises:
            DataError: a file is damaged.
        """
        declared = {HF_METADATA: self.declared.encode()} if self.declared else None
        return {
            split: parquet_table([Path(path) for path in paths], f"{source} ({split})", declared)
            for split, paths in self.splits.items()
        }


def fetch_files(repository: str) -> ParquetFiles | Any:
    """Download a set in its default configuration, or take it from the hub client's cache.

    The `datasets` library reads all files with the class names of the first, so parquet files are not left to it.

    Args:
        repository: `owner/name`.

    Returns:
        The files, or the `DatasetDict` of a set that is not of parquet files.

    Raises:
        DataError: files of the set declare other class names than the first, and cannot be read one by one.
        Exception: the hub's client, the network and the builders each raise their own types.
    """
    import datasets
    from datasets.packaged_modules.arrow.arrow import Arrow
    from datasets.packaged_modules.parquet.parquet import Parquet

    builder = datasets.load_dataset_builder(repository)
    if isinstance(builder, Parquet):
        features = builder.info.features
        declared = None if features is None else features.arrow_schema.metadata[HF_METADATA].decode()
        files = ParquetFiles(_downloaded(builder), declared)
        with contextlib.suppress(OSError):  # it only serves later loads without a network
            write_json(_record(repository), asdict(files))
        return files
    if isinstance(builder, Arrow):
        _require_same_names(_downloaded(builder), repository)
    builder.download_and_prepare()
    return builder.as_dataset()


def remembered_files(repository: str) -> ParquetFiles | None:
    """Return the files that were downloaded last, if they are all still there."""
    from pydantic import TypeAdapter

    if not _record(repository).exists():
        return None
    files = read_json_as(TypeAdapter(ParquetFiles), _record(repository), advice="fetch the set again with a network")
    return files if all(Path(path).exists() for paths in files.splits.values() for path in paths) else None


def _record(repository: str) -> Path:
    return cache_path("hub", f"{repository.replace('/', '--')}.json")


def _downloaded(builder: Any) -> dict[str, list[str]]:
    import datasets

    files: Mapping[str, list[Any]] = datasets.DownloadManager().download(builder.config.data_files)
    return {str(split): [str(path) for path in paths] for split, paths in files.items()}


def _require_same_names(splits: dict[str, list[str]], repository: str) -> None:
    """Raise an error unless all Arrow files declare the same class names."""
    paths = [path for paths in splits.values() for path in paths]
    for path in paths[1:]:
        if _names(path) != _names(paths[0]):
            raise DataError(
                f"{repository}: {Path(path).name} declares other class names than {Path(paths[0]).name}, and its Arrow "
                "files are read with the names of one; write the set as parquet files, which may differ"
            )


def _names(path: str) -> dict[str, tuple[str, ...] | None]:
    """Return the class names that each column of an Arrow file declares."""
    import pyarrow as pa  # type: ignore[import-untyped]

    with pa.memory_map(path) as file:
        try:
            schema = pa.ipc.open_stream(file).schema
        except (OSError, pa.ArrowInvalid):
            schema = pa.ipc.open_file(file).schema
    return {column: declared_names(schema, column) for column in schema.names}

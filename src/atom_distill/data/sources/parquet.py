"""Parquet files with an image and a label column."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atom_distill.base.errors import DataError
from atom_distill.data.cache.raw import LoadOptions, RawDataset
from atom_distill.data.sources.arrow_tables import ROWS_AT_ONCE, Columns, Table, read_tables


def read_parquet(files: list[Path], root: Path, options: LoadOptions) -> RawDataset:
    """Read parquet files; a file or folder name that starts with train, test or val tells the split.

    Raises:
        DataError: a file is damaged, a column cannot be found, or there is no test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_split_of(path.relative_to(root) if path != root else Path(path.name)), []).append(path)
    if "" in groups and len(groups) > 1:
        raise DataError(f"{groups[''][0]} belongs to no split; name it train-*.parquet or test-*.parquet")
    tables = {split or "train": _table(paths, f"{root.name} ({split or 'train'})") for split, paths in groups.items()}
    return read_tables(tables, str(root), options, Columns())


def _split_of(path: Path) -> str:
    for part in reversed(path.parts):
        for name in ("train", "validation", "valid", "val", "test"):
            if part.lower().startswith(name):
                return name
    return ""


def _table(paths: list[Path], name: str) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    def open_file(path: Path) -> Any:
        try:
            return pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is not a readable parquet file ({error}); fetch or write it again") from error

    def batches(columns: list[str]) -> Iterator[Any]:
        for path in paths:
            with open_file(path) as file:
                try:
                    yield from file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns)
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"{path} is damaged ({error}); fetch or write it again") from error

    with open_file(paths[0]) as first:
        return Table(name, first.schema_arrow, batches, paths[0].parent)

"""Parquet files with an image and a label column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from atom_distill.base.errors import DataError
from atom_distill.base.plain_text import reason_of
from atom_distill.data.cache.raw import LoadOptions, RawDataset
from atom_distill.data.sources.arrow_columns import HF_METADATA
from atom_distill.data.sources.arrow_tables import ROWS_AT_ONCE, Table, read_tables
from atom_distill.data.sources.splits import TRAIN, split_of

_SHARD = re.compile(r"[-_.]?\d+[-_.]of[-_.]\d+$")  # "-00000-of-00002"
_NUMBER = re.compile(r"[-_.]?\d+$")  # "_3"; without a split's name before it, it may be part of the name


def read_parquet(files: list[Path], root: Path, options: LoadOptions) -> RawDataset:
    """Read one parquet file, or those of a folder, whose names or subfolders tell the splits.

    Raises:
        DataError: a file is damaged, a column cannot be found, or there is no test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    parts = {TRAIN: files} if files == [root] else _parts(files, root)
    tables = {name: parquet_table(paths, f"{root.name} ({name})") for name, paths in parts.items()}
    return read_tables(tables, str(root), options)


def _parts(files: list[Path], root: Path) -> dict[str, list[Path]]:
    """Group the files of a set by the name of the part that they are shards of; without any such name all are one."""
    groups: dict[PurePath, list[Path]] = {}
    for path in files:
        groups.setdefault(_part_of(path.relative_to(root)), []).append(path)
    if not any(split_of(part.name) for part in groups):
        return {TRAIN: files}
    parts: dict[str, list[Path]] = {}
    for part, paths in groups.items():
        if part.name in parts:
            raise DataError(
                f"{root} has parquet files of {part.name} in several folders ({parts[part.name][0].parent} and "
                f"{paths[0].parent}); give the path of one of them, or move the files of one split into one folder"
            )
        parts[part.name] = paths
    return parts


def _part_of(path: Path) -> PurePath:
    """Return the path of what a file is a shard of: the outermost name that stands for the file's split.

    The split is told by the innermost name that stands for any: "data/train-00000-of-00002.parquet" is a shard of
    "data/train", "plain_text/test/0000.parquet" of "plain_text/test"; others are of their own name.
    """
    stem = path.with_suffix("")
    stem = stem.with_name(_SHARD.sub("", stem.name) or stem.name)
    if split_of(stem.name):
        stem = stem.with_name(_NUMBER.sub("", stem.name))
    telling = [folder for folder in (stem, *stem.parents) if split_of(folder.name)]
    if not telling:
        return stem
    role = split_of(telling[0].name)
    return [folder for folder in telling if split_of(folder.name) == role][-1]


def parquet_table(paths: list[Path], name: str, declared: dict[bytes, bytes] | None = None) -> Table:
    """Return the table that parquet files hold together.

    Args:
        paths: of the files, in the order of the rows.
        name: of the table, for messages.
        declared: Arrow metadata for files that declare no features of the `datasets` library themselves.

    Raises:
        DataError: the first file is damaged; the others are opened when they are read.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    damages = (pa.ArrowException, OSError, UnicodeDecodeError)

    def open_file(path: Path) -> tuple[Any, list[str]]:
        try:
            file = pq.ParquetFile(path)
            return file, file.schema_arrow.names
        except damages as error:
            raise DataError(
                f"{path} is not a readable parquet file ({reason_of(error)}); fetch or write it again"
            ) from error

    def described(schema: Any) -> Any:
        own = schema.metadata or {}
        return schema if declared is None or HF_METADATA in own else schema.with_metadata({**own, **declared})

    def batches(columns: list[str]) -> Iterator[Any]:
        for path in paths:
            file, names = open_file(path)
            with file:
                missing = sorted(set(columns) - set(names))
                if missing:
                    raise DataError(f"{path} lacks column {missing[0]!r}, which {paths[0].name} has; write it again")
                try:
                    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                        yield batch.replace_schema_metadata(described(batch.schema).metadata)
                except damages as error:
                    raise DataError(f"{path} is damaged ({reason_of(error)}); fetch or write it again") from error

    first, _ = open_file(paths[0])
    with first:
        return Table(name, described(first.schema_arrow), batches, paths[0].parent)

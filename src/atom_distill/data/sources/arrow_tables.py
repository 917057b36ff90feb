"""Arrow tables with an image and a label column, as parquet files and the `datasets` library hold them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import Item, LoadOptions, RawDataset
from atom_distill.data.sources.arrow_columns import (
    SPLIT_COLUMN,
    choose_columns,
    declared_names,
    is_list,
    is_number_or_text,
    storage_type,
)
from atom_distill.data.sources.image_arrays import image_of_array
from atom_distill.data.sources.labeled_parts import Part, StoredLabels, assemble, join
from atom_distill.data.sources.splits import TRAIN, choose_splits, split_of

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS_AT_ONCE = 256
"""Rows in memory at a time; a row can be a large photograph."""


@dataclass(frozen=True)
class Table:
    """A table that is read in batches.

    Attributes:
        name: for messages.
        schema: its Arrow schema.
        batches: column names to an iterator of Arrow tables, in row order, each with the schema of the file it is from.
        folder: what the paths of its images are relative to.
    """

    name: str
    schema: Any
    batches: Callable[[list[str]], Iterator[Any]]
    folder: Path


def read_tables(
    tables: dict[str, Table], source: str, options: LoadOptions, class_names: tuple[str, ...] | None = None
) -> RawDataset:
    """Read the tables of a set.

    Args:
        tables: by the name of the part, e.g. "train" and "validation".
        source: name of the set, for people and for the record.
        options: the columns and the splits.
        class_names: instead of those that the tables declare.

    Raises:
        DataError: a column cannot be found, or a split is missing or does not fit the other.
        ConfigError: a test fraction was given though there is a test split.
    """
    first = next((name for name in tables if split_of(name) == TRAIN), None)
    if first is None:
        first = choose_splits(tables, source, options).train
    columns = choose_columns(tables[first].schema, tables[first].name, options)
    parts = {name: _part(table, columns.image, columns.label) for name, table in tables.items()}
    if len(tables) == 1 and columns.label.lower() != SPLIT_COLUMN:
        parts = _by_split(tables[first], parts[first]) or parts
    return assemble(parts, class_names, source, options)


def _part(table: Table, image: str, label: str) -> Part:
    def items() -> Iterator[Item]:
        if image not in table.schema.names:
            raise DataError(f"{table.name} has no column {image!r}, which holds the images of the training split")
        cells = (cell for batch in table.batches([image]) for cell in batch.column(image))
        return (_item(cell, row, table) for row, cell in enumerate(cells))

    return Part(_labels(table, label) if label in table.schema.names else None, items)


def _by_split(table: Table, part: Part) -> dict[str, Part]:
    """Return the parts that a column `split` tells; empty if there is none, or none with several names of splits.

    Raises:
        DataError: the column is empty in some rows.
    """
    fields = [field for field in table.schema if field.name.lower() == SPLIT_COLUMN]
    if not fields or not is_number_or_text(storage_type(fields[0].type)):
        return {}
    column = fields[0].name
    stored = _labels(table, column)
    values = stored.values
    if stored.names is not None:
        values = np.asarray(stored.names)[stored.renumbered(stored.names, f"{table.name}, column {column!r}").values]
    names = np.unique(values[~stored.missing]).tolist()
    if not any(split_of(str(name)) for name in names):
        note(f"{table.name}: column {column} is not used: none of its values is the name of a split, such as train")
        return {}
    if stored.missing.any():
        raise DataError(
            f"{table.name}: column {column!r} is empty in {stored.missing.sum()} rows; complete or remove it"
        )
    if len(names) == 1:
        return {}
    note(f"{table.name}: splits are those in column {column}: {', '.join(names)}")
    return {name: part.only(values == name) for name in names}


# Labels


def _labels(table: Table, column: str) -> StoredLabels:
    pieces = []
    try:
        for batch in table.batches([column]):
            values = batch.column(column)
            names = declared_names(batch.schema, column)
            pieces += [StoredLabels.of(*_as_numpy(piece), names) for piece in getattr(values, "chunks", [values])]
    except ValueError as error:
        raise DataError(
            f"{table.name}: column {column!r} holds {error}; wanted whole numbers, texts, or true and false: "
            "choose another column with `label_column`"
        ) from error
    return join(pieces, f"{table.name}, column {column!r}")


def _as_numpy(array: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of an Arrow array, texts as numpy's, and which of them are null."""
    import pyarrow as pa  # type: ignore[import-untyped]

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.asarray(array.fill_null("").to_pylist(), np.str_), missing
    filler = False if pa.types.is_boolean(array.type) else 0
    return array.fill_null(filler).to_numpy(zero_copy_only=False), missing


# Images


def _item(cell: Any, row: int, table: Table) -> Item:
    """Return the image of a cell; what the cell holds is looked at where the image is opened."""

    def open_image() -> Image:
        if not cell.is_valid:
            raise ValueError("the row holds no image")
        if is_list(storage_type(cell.type)):
            return image_of_array(_numbers(cell))
        return _decoded(cell.as_py(), table.folder)

    path = _path(cell)
    return Item(f"{table.name}, row {row}" + (f" ({path})" if path else ""), open_image)


def _path(cell: Any) -> str | None:
    """Return the path that a cell holds beside the bytes, for messages."""
    import pyarrow as pa

    if not cell.is_valid or not pa.types.is_struct(cell.type) or cell.type.get_field_index("path") < 0:
        return None
    try:
        return str(cell["path"].as_py() or "")
    except UnicodeDecodeError:  # the image may be intact
        return None


def _decoded(cell: Any, folder: Path) -> Image:
    from PIL import Image as PillowImage

    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if content is not None:
        return PillowImage.open(io.BytesIO(content))
    if path is None:
        raise ValueError("the row holds neither bytes nor a path")
    return PillowImage.open(folder / path)


def _numbers(cell: Any) -> NDArray[Any]:
    """Return a tensor, or nested lists of numbers, as an array.

    Raises:
        ValueError: the lists are not of one length.
    """
    shape, order = getattr(cell.type, "shape", None), getattr(cell.type, "permutation", None)
    cell = getattr(cell, "value", cell)  # of an extension type: how it is stored
    values, lengths = cell.values, [len(cell.values)]
    while is_list(values.type):
        inner = values.value_lengths() if hasattr(values, "value_lengths") else [values.type.list_size]
        sizes = np.unique(np.asarray(inner))
        if len(sizes) != 1:
            raise ValueError("the rows of pixels are of different lengths")
        lengths.append(int(sizes[0]))
        values = values.flatten()
    numbers = np.asarray(values.to_numpy(zero_copy_only=False))
    if shape is None or len(lengths) > 1:
        return numbers.reshape(lengths)
    return numbers.reshape(shape).transpose(order or range(len(shape)))

"""Arrow tables with an image and a label column, as parquet files and the `datasets` library hold them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atom_distill.base.errors import DataError
from atom_distill.data.cache.raw import EncodedSplit, Item, Labels, LoadOptions, RawDataset
from atom_distill.data.sources.splits import choose_splits, stratified_split

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS_AT_ONCE = 256
"""Rows in memory at a time; a row can be a large photograph."""
_IMAGE_NAMES = ("image", "img", "picture", "images")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "category")
_Values: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Columns:
    """The image column, the label column and the class names; what is None is inferred from the table."""

    image: str | None = None
    label: str | None = None
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Table:
    """A table that is read in batches.

    Attributes:
        name: for messages.
        schema: its Arrow schema.
        batches: column names to an iterator of Arrow tables, in row order.
        folder: what the paths of its images are relative to.
    """

    name: str
    schema: Any
    batches: Callable[[list[str]], Iterator[Any]]
    folder: Path


def read_tables(tables: dict[str, Table], source: str, options: LoadOptions, columns: Columns) -> RawDataset:
    """Read the tables of a set.

    Args:
        tables: by split, e.g. "train" and "validation".
        source: name of the set, for people and for the record.
        options: whether to split off a test set.
        columns: what is known of the columns.

    Raises:
        DataError: a column cannot be found, or a split is missing or does not fit the other.
        ConfigError: a test fraction was given though there is a test split.
    """
    chosen = choose_splits(tables, source, options)
    train = tables[chosen.train]
    image, label, names = _choose_columns(train, columns)
    if chosen.test is not None:
        test = tables[chosen.test]
        values = (_label_values(train, label), _label_values(test, label))
        (train_labels, test_labels), names = _to_indices(values, names, source)
        train_split, test_split = _split(train, image, train_labels), _split(test, image, test_labels)
        return RawDataset(train_split, test_split, names, source, names_declared=True)
    (labels,), names = _to_indices((_label_values(train, label),), names, source)
    rows = stratified_split(labels, options.test_fraction or 0.0, options.seed, names)
    train_split, test_split = (_split(train, image, labels[part], part) for part in rows)
    return RawDataset(train_split, test_split, names, source, names_declared=True)


# Columns


def _choose_columns(table: Table, wanted: Columns) -> tuple[str, str, tuple[str, ...] | None]:
    """Return the image column, the label column, and the class names where the table has them.

    Raises:
        DataError: a column is missing, or several fit.
    """
    import pyarrow.types as pt  # type: ignore[import-untyped]

    def holds_images(kind: Any) -> bool:
        if pt.is_struct(kind):
            return {"bytes", "path"} <= {kind.field(index).name for index in range(kind.num_fields)}
        return bool(pt.is_binary(kind) or pt.is_large_binary(kind))

    def holds_labels(kind: Any) -> bool:
        kind = kind.value_type if pt.is_dictionary(kind) else kind
        return bool(pt.is_integer(kind) or pt.is_string(kind) or pt.is_large_string(kind))

    images = [field.name for field in table.schema if holds_images(field.type)]
    labels = [field.name for field in table.schema if holds_labels(field.type)]
    features = _hf_features(table.schema)
    class_labels = [name for name in labels if features.get(name, {}).get("_type") == "ClassLabel"]
    label = _pick(table, "label", wanted.label, class_labels or labels, _LABEL_NAMES)
    image = _pick(table, "image", wanted.image, images, _IMAGE_NAMES)
    names = wanted.class_names or features.get(label, {}).get("names")
    return image, label, tuple(names) if names else None


def _hf_features(schema: Any) -> dict[str, Any]:
    """Return the feature descriptions that the `datasets` library writes into a file's metadata."""
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else {}
    except (ValueError, KeyError, TypeError):
        return {}  # only a hint: without it the labels are the class names
    return {name: value for name, value in features.items() if isinstance(value, dict)}


def _pick(table: Table, kind: str, wanted: str | None, fitting: list[str], usual: tuple[str, ...]) -> str:
    if wanted is not None:
        fitting = [name for name in fitting if name == wanted]
    if len(fitting) > 1:
        fitting = [name for name in usual if name in fitting][:1] or fitting
    if len(fitting) == 1:
        return fitting[0]
    state = f"{len(fitting)} of its columns could be it" if fitting else "none of its columns fits"
    form = "encoded images (bytes)" if kind == "image" else "whole numbers or text"
    raise DataError(
        f"{table.name} needs one {kind} column of {form}, named {' or '.join(map(repr, usual[:2]))}; {state}: "
        f"{', '.join(f'{field.name} ({field.type})' for field in table.schema)}"
    )


# Labels


def _label_values(table: Table, column: str) -> _Values:
    import pyarrow as pa

    pieces: list[Any] = []
    for batch in table.batches([column]):
        values = batch.column(column)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        pieces.append(values.dictionary_decode() if pa.types.is_dictionary(values.type) else values)
    if sum(map(len, pieces)) == 0:
        raise DataError(f"{table.name} has no rows")
    if any(piece.null_count for piece in pieces):
        raise DataError(f"{table.name}: column {column!r} has rows without a label; remove them")
    return np.concatenate([np.asarray(piece.to_pylist()) for piece in pieces])


def _to_indices(
    values: tuple[_Values, ...], names: tuple[str, ...] | None, source: str
) -> tuple[list[Labels], tuple[str, ...]]:
    """Turn label values into 0..K-1.

    Args:
        values: of the training split and any other, integers or texts, shape [N].
        names: class names, if integers are already indices into them.
        source: name of the set, for messages.

    Returns:
        int64 labels of each split, and the class names; without `names` the sorted values of the training split.

    Raises:
        DataError: an integer has no name, or a split has a value that the training split lacks.
    """
    if names is not None and values[0].dtype.kind in "iu":
        for split in values:
            if split.min() < 0 or split.max() >= len(names):
                raise DataError(
                    f"{source}: a label is outside 0..{len(names) - 1} "
                    f"(lowest {split.min()}, highest {split.max()}); an unlabeled split cannot be used"
                )
        return [split.astype(np.int64) for split in values], names
    known = np.unique(values[0])
    for split in values[1:]:
        strangers = np.setdiff1d(split, known)
        if len(strangers):
            raise DataError(f"{source}: the test split has a class that train lacks: {strangers[0]!s}")
    return [np.searchsorted(known, split).astype(np.int64) for split in values], tuple(map(str, known.tolist()))


# Images


def _split(table: Table, column: str, labels: Labels, rows: Labels | None = None) -> EncodedSplit:
    """Return the images of a table, or of its `rows` (ascending), with their labels."""
    wanted = None if rows is None else set(rows.tolist())

    def items() -> Iterator[Item]:
        cells = (cell for batch in table.batches([column]) for cell in batch.column(column))
        for row, cell in enumerate(cells):
            if wanted is None or row in wanted:
                yield _item(cell.as_py(), row, table)

    return EncodedSplit(labels, items)


def _item(cell: Any, row: int, table: Table) -> Item:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    path = cell.get("path") if isinstance(cell, dict) else None

    def open_image() -> Image:
        from PIL import Image as PillowImage

        if content is not None:
            return PillowImage.open(io.BytesIO(content))
        if path is None:
            raise ValueError("the row holds neither bytes nor a path")
        return PillowImage.open(table.folder / path)

    return Item(f"{table.name}, row {row}" + (f" ({path})" if path else ""), open_image)

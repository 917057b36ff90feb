"""Tables with an image and a label column: parquet files, saved Hugging Face sets, sets from the hub."""

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
from atom_distill.data.sources.splits import SPLIT_NAMES, needless_fraction, no_test_split, stratified_split

if TYPE_CHECKING:
    from PIL.Image import Image

_ROWS = 256  # rows in memory at a time; a row can be a large photograph
_IMAGE_NAMES = ("image", "img", "picture", "images")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "target", "category")
_Values: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Columns:
    """Which columns hold the image and the label; None finds them by type and name."""

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Table:
    """One table that is read in pieces.

    Attributes:
        name: what messages call it.
        schema: its Arrow schema.
        batches: column names to an iterator of Arrow tables, in row order.
        folder: where the paths of its images start.
    """

    name: str
    schema: Any
    batches: Callable[[list[str]], Iterator[Any]]
    folder: Path


def read_parquet(files: list[Path], root: Path, options: LoadOptions) -> RawDataset:
    """Read parquet files; a name or folder that starts with train, test or val tells the split.

    Raises:
        DataError: a file is damaged, a column cannot be found, or there is no test split.
        ConfigError: a test fraction was given though there is a test split.
    """
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_split_of(path.relative_to(root) if path != root else Path(path.name)), []).append(path)
    tables = {split: _parquet_table(paths, f"{root.name} ({split})") for split, paths in groups.items()}
    if "" in tables and len(tables) == 1:
        tables = {"train": tables[""]}
    elif "" in tables:
        raise DataError(f"{groups[''][0]} belongs to no split; name it train-*.parquet or test-*.parquet")
    return _assemble(tables, str(root), options)


def read_hf(
    found: Any,
    source: str,
    *,
    options: LoadOptions | None = None,
    columns: Columns | None = None,
    class_names: tuple[str, ...] | None = None,
) -> RawDataset:
    """Read a Hugging Face `Dataset` or `DatasetDict`.

    Raises:
        DataError: a column cannot be found, or there is no test split.
    """
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    tables = {name: _hf_table(dataset, f"{source} ({name})") for name, dataset in splits.items()}
    return _assemble(tables, source, options or LoadOptions(), columns or Columns(), class_names)


def _split_of(path: Path) -> str:
    for part in reversed(path.parts):
        for name in ("train", "validation", "valid", "val", "test"):
            if part.lower().startswith(name):
                return name
    return ""


def _parquet_table(paths: list[Path], name: str) -> Table:
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
                    yield from file.iter_batches(batch_size=_ROWS, columns=columns)
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"{path} is damaged ({error}); fetch or write it again") from error

    with open_file(paths[0]) as first:
        return Table(name, first.schema_arrow, batches, paths[0].parent)


def _hf_table(dataset: Any, name: str) -> Table:
    def batches(columns: list[str]) -> Iterator[Any]:
        # the arrow format gives the stored bytes and decodes nothing
        yield from dataset.select_columns(columns).with_format("arrow").iter(batch_size=_ROWS)

    return Table(name, dataset.features.arrow_schema, batches, Path())


def _assemble(
    tables: dict[str, Table],
    source: str,
    options: LoadOptions,
    columns: Columns | None = None,
    class_names: tuple[str, ...] | None = None,
) -> RawDataset:
    train = tables.get("train")
    if train is None:
        raise DataError(f"{source} has no train split, only {', '.join(sorted(tables))}")
    chosen, names = find_columns(train, columns or Columns())
    names = class_names or names
    test = next((tables[name] for name in SPLIT_NAMES if name in tables), None)
    if test is not None:
        if options.test_fraction is not None:
            raise needless_fraction(source)
        values = (_label_values(train, chosen.label), _label_values(test, chosen.label))
        (train_labels, test_labels), names = index_labels(values, names, source)
        splits = (_split(train, chosen, train_labels), _split(test, chosen, test_labels))
    else:
        if options.test_fraction is None:
            raise no_test_split(source)
        (labels,), names = index_labels((_label_values(train, chosen.label),), names, source)
        parts = stratified_split(labels, options.test_fraction, options.seed, names)
        splits = (_split(train, chosen, labels, parts[0]), _split(train, chosen, labels, parts[1]))
    return RawDataset(*splits, names, source)


# Columns


@dataclass(frozen=True)
class _Chosen:
    image: str
    label: str


def find_columns(table: Table, wanted: Columns) -> tuple[_Chosen, tuple[str, ...] | None]:
    """Find the image and the label column and, where the table tells them, the class names.

    Raises:
        DataError: a column is not there, or several could be meant.
    """
    import pyarrow.types as pt  # type: ignore[import-untyped]

    def holds_images(kind: Any) -> bool:
        if pt.is_struct(kind):
            return {"bytes", "path"} <= {kind.field(index).name for index in range(kind.num_fields)}
        return bool(pt.is_binary(kind) or pt.is_large_binary(kind))

    def holds_labels(kind: Any) -> bool:
        kind = kind.value_type if pt.is_dictionary(kind) else kind
        return bool(pt.is_integer(kind) or pt.is_string(kind) or pt.is_large_string(kind))

    fields = {field.name: field.type for field in table.schema}
    images = [name for name, kind in fields.items() if holds_images(kind)]
    labels = [name for name, kind in fields.items() if holds_labels(kind)]
    features = _hf_features(table.schema)
    named = [name for name in labels if features.get(name, {}).get("_type") == "ClassLabel"]
    label = _pick(table, "label", wanted.label, named or labels, _LABEL_NAMES)
    names = features.get(label, {}).get("names")
    image = _pick(table, "image", wanted.image, images, _IMAGE_NAMES)
    return _Chosen(image, label), tuple(names) if names else None


def _hf_features(schema: Any) -> dict[str, Any]:
    """Return the feature descriptions that the datasets library leaves in a file's metadata."""
    text = (schema.metadata or {}).get(b"huggingface")
    if not text:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}  # only a hint; without it the class names are the labels
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


def index_labels(
    values: tuple[_Values, ...], names: tuple[str, ...] | None, source: str
) -> tuple[list[Labels], tuple[str, ...]]:
    """Turn label values into 0..K-1.

    Args:
        values: for the training split and any other, whole numbers or texts, shape [N].
        names: class names, if the numbers are already indices into them.
        source: what an error calls the set.

    Returns:
        int64 labels of each split, and the class names; without `names` the sorted values of the training split.

    Raises:
        DataError: a number has no name, or a split has a value that the training split lacks.
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


def _split(table: Table, chosen: _Chosen, labels: Labels, rows: Labels | None = None) -> EncodedSplit:
    return EncodedSplit(labels if rows is None else labels[rows], lambda: _items(table, chosen.image, rows))


def _items(table: Table, column: str, rows: Labels | None) -> Iterator[Item]:
    """Give the images of a table, or of its `rows` (ascending), in order."""
    wanted = None if rows is None else set(rows.tolist())
    row = 0
    for batch in table.batches([column]):
        for cell in batch.column(column):
            if wanted is None or row in wanted:
                yield _item(cell.as_py(), row, table)
            row += 1


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

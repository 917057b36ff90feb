"""Which columns of an Arrow table hold the images and the labels, and the class names that its schema declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atom_distill.base.errors import DataError
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.data.cache.raw import LoadOptions
from atom_distill.data.sources.metadata import LABEL_COLUMNS

_USUAL = {
    "image": ("image", "img", "picture", "images"),
    "label": LABEL_COLUMNS,
}
_FORMS = {
    "image": "encoded images (bytes) or arrays of whole numbers",
    "label": "whole numbers, text, or true and false",
}
SPLIT_COLUMN = "split"
"""Name, in any case, of a column that tells the split of each row."""
HF_METADATA = b"huggingface"
"""Key of the Arrow metadata in which the `datasets` library describes the columns."""
_INDEX = "__index_level_"  # how pandas names the columns of a table's index


@dataclass(frozen=True)
class Columns:
    """The names of the image and of the label column."""

    image: str
    label: str


def choose_columns(schema: Any, name: str, options: LoadOptions) -> Columns:
    """Choose the columns of a table: as the options say, by their usual names, or by their types.

    Args:
        schema: Arrow schema.
        name: of the table, for messages.
        options: `image_column` and `label_column`.

    Raises:
        DataError: a column is missing, or several fit.
    """
    features = _hf_features(schema)
    fields = {field.name: field.type for field in schema if not field.name.startswith(_INDEX)}
    encoded = [column for column, kind in fields.items() if _is_encoded(storage_type(kind))]
    arrays = [column for column, kind in fields.items() if _is_array(kind)]
    likely_or_split = [column for column, kind in fields.items() if is_number_or_text(storage_type(kind))]
    likely = [column for column in likely_or_split if column.lower() != SPLIT_COLUMN]
    unlikely = [column for column, kind in fields.items() if _is_truth_or_float(storage_type(kind))]
    declared = [column for column in likely if features.get(column, {}).get("_type") == "ClassLabel"]
    choice = _Choice(name, schema)
    image = choice.given("image", options.image_column, encoded + arrays) or choice.infer("image", [encoded, arrays])
    tiers = [declared] if declared else [likely, unlikely]
    label = choice.given("label", options.label_column, likely_or_split + unlikely) or choice.infer("label", tiers)
    return Columns(image, label)


def storage_type(kind: Any) -> Any:
    """Return the type that values of an Arrow type are stored as: extension and dictionary types have another."""
    import pyarrow as pa  # type: ignore[import-untyped]

    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind):
            kind = kind.value_type
        else:
            return kind


def is_list(kind: Any) -> bool:
    """Return whether values of an Arrow type are lists."""
    import pyarrow.types as pt  # type: ignore[import-untyped]

    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))


def _is_encoded(kind: Any) -> bool:
    import pyarrow.types as pt

    if pt.is_struct(kind):
        return "bytes" in {kind.field(index).name for index in range(kind.num_fields)}
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind))


def _is_array(kind: Any) -> bool:
    """Return whether a type is of tensors, or nested lists, of whole numbers; one plain list is no image."""
    import pyarrow.types as pt

    depth = 1 if hasattr(kind, "shape") else 0  # an extension type of tensors, which may be stored as one list
    kind = storage_type(kind)
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    return depth > 1 and bool(pt.is_integer(kind))


def is_number_or_text(kind: Any) -> bool:
    """Return whether values of an Arrow type are whole numbers or texts."""
    import pyarrow.types as pt

    return bool(pt.is_integer(kind) or pt.is_string(kind) or pt.is_large_string(kind))


def _is_truth_or_float(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_boolean(kind) or pt.is_floating(kind))


@dataclass(frozen=True)
class _Choice:
    """The choice of a column of a table; `kind` is "image" or "label"."""

    name: str
    schema: Any

    def given(self, kind: str, wanted: str | None, fitting: list[str]) -> str | None:
        """Return the column that an option names, if it does."""
        if wanted is None or wanted in fitting:
            return wanted
        state = "does not fit" if wanted in self.schema.names else "is not there"
        raise DataError(
            f"{self.name}: column `{kind}_column={wanted}` {state}, wanted {_FORMS[kind]}; {self._columns()}"
        )

    def infer(self, kind: str, tiers: list[list[str]]) -> str:
        """Return the column that has a usual name, or else the only one of the first tier that has any."""
        fitting = [column for tier in tiers for column in tier]
        usual = [column for known in _USUAL[kind] for column in fitting if column.lower() == known]
        option = f"`{kind}_column`"
        if len(usual) > 1:
            note(f"{self.name}: column {usual[0]} holds the {kind}s, not {', '.join(usual[1:])} ({option} to change)")
        if usual:
            return usual[0]
        found = next(filter(None, tiers), [])
        if len(found) == 1:
            return found[0]
        state = f"{len(found)} could be it ({', '.join(found)})" if found else "none of them fits"
        raise DataError(
            f"{self.name} needs one {kind} column of {_FORMS[kind]}, named {_USUAL[kind][0]!r} or chosen with "
            f"{option}; {state}; {self._columns()}"
        )

    def _columns(self) -> str:
        return f"its columns are {', '.join(f'{field.name} ({field.type})' for field in self.schema)}"


# What the `datasets` library declares


def _hf_features(schema: Any) -> dict[str, Any]:
    """Return the feature descriptions that the `datasets` library writes into a file's metadata."""
    text = (schema.metadata or {}).get(HF_METADATA)
    try:
        features = parse_json(text)["info"]["features"] if text else {}
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}  # only a hint: without it the labels are the class names


def declared_names(schema: Any, column: str) -> tuple[str, ...] | None:
    """Return the class names that a schema declares for a column; None if it declares none."""
    feature = _hf_features(schema).get(column, {})
    names, count = feature.get("names"), feature.get("num_classes")
    if isinstance(names, list) and names:
        return tuple(map(str, names))
    if isinstance(count, int) and count > 0:
        return tuple(map(str, range(count)))
    return None

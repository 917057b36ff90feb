"""The files of a run folder, one pair of functions each. Loading never unpickles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from atom_distill.artifact.packed_rows import packed_rows, unpacked_rows
from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import remove_leftovers, write_text
from atom_distill.base.folder_lock import locked
from atom_distill.base.own_folders import CONFIG_FILE
from atom_distill.base.packing import packed_size
from atom_distill.base.parsing import parse_json, parse_yaml
from atom_distill.base.plain_text import valid_text
from atom_distill.base.tensors import checksum, write_tensors
from atom_distill.base.writable import require_writable
from atom_distill.ops.parameterization import (
    Parameterization,
    Quantized,
    Stored,
    build_parameterization,
    count_bytes,
    count_values,
)
from atom_distill.ops.parameterization.quantized import STEP_BYTES, integers
from atom_distill.ops.preprocessing import Preprocessing, preprocessing_from_tensors

CARD_FILE = "README.md"
METRICS_FILE = "metrics.jsonl"
PREPROCESSING_FILE = "preprocessing.safetensors"
_TENSOR_FILES = {"last": "distilled.safetensors", "best": "distilled-best.safetensors"}
_FORMAT = 1
_HEADER = "atom-distill"
_SECTIONS = ("settings", "dataset", "record")


class StoredValues(NamedTuple):
    """The contents of a tensor file.

    Attributes:
        stored: stored values by name, float32 [R, ...].
        row_labels: int64 [R].
        class_names: index = label.
        steps: steps done when they were taken.
        parameterization: name of what decodes them (`config.distill.stored_form`).
        image_shape: (C, H, W) of the decoded images.
        soft_labels: float32 [M, K], probabilities of the classes for each decoded image, where the set has them.
        rounding: steps of which the values are multiples (`Quantized`), by name; None where they are not rounded.
    """

    stored: Stored
    row_labels: Tensor
    class_names: tuple[str, ...]
    steps: int
    parameterization: str
    image_shape: tuple[int, int, int]
    soft_labels: Tensor | None = None
    rounding: Mapping[str, Tensor] | None = None

    def size(self) -> int:
        """Return the size of the values (packed where they are rounded) and of the soft labels, bytes."""
        soft = soft_labels_as_stored(self.soft_labels) if self.soft_labels is not None else None
        labels = {} if soft is None else {"soft_labels": soft}
        if self.rounding is None:
            return count_bytes({**self.stored, **labels})
        steps = STEP_BYTES * count_values(self.rounding)
        return packed_size(integers(self.stored, self.rounding)) + steps + count_bytes(labels)

    def decoder(self) -> Parameterization:
        """Return what decodes them."""
        inner = build_parameterization(self.parameterization, self.image_shape)
        return inner if self.rounding is None else Quantized(inner, self.rounding)


_RESTORE = "restore it, or remove it and give the command that made it again, `atom distill` with --resume"


def holds_run(folder: Path) -> bool:
    """Return whether a run was started in the folder."""
    return (folder / CONFIG_FILE).exists()


@contextmanager
def sole_use(folder: Path, *, resume: bool) -> Iterator[None]:
    """Create a folder for a new run, or enter that of a stopped one, and keep other processes from doing so meanwhile.

    Half-written files of a killed process are removed.

    Args:
        folder: of the run.
        resume: whether it may hold a run.

    Raises:
        ArtifactError: it is in use, holds something other than a run, is not a folder, or has a name that is not UTF-8.
        ConfigError: nothing can be written there.
    """
    if not resume:
        _require_no_run(folder)
    _create(folder)
    with locked(folder) as is_locked:
        if is_locked is False:
            raise ArtifactError(
                f"another process is writing to {folder}: wait until it has ended, or give another `out`"
            )
        remove_leftovers(folder)
        if not resume:
            _require_no_run(folder)  # which another process may have finished just now
        if not holds_run(folder) and any(folder.iterdir()):
            raise ArtifactError(f"{folder} is not empty and holds no run; give a new or empty folder as `out`")
        yield


def _require_no_run(folder: Path) -> None:
    if holds_run(folder):
        raise ArtifactError(f"{folder} already holds a run: continue it with `resume`, or give another `out`")


def _create(folder: Path) -> None:
    """Create a folder that can be written to, if it is not there."""
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is a file; give a folder as `out`")
    if str(folder) != valid_text(str(folder)):  # safetensors would write there, and read nothing
        raise ArtifactError(f"the name of {folder} is not UTF-8; give another `out`")
    if not holds_run(folder):
        require_writable(folder, "out")
    folder.mkdir(parents=True, exist_ok=True)


def is_finished(folder: Path, steps: int) -> bool:
    """Return whether the folder holds the complete result of `steps` steps; the card is written last."""
    needed = (CARD_FILE, PREPROCESSING_FILE, _TENSOR_FILES["last"])
    written = all((folder / name).exists() for name in needed)
    return written and load_values(folder, "last").steps == steps


def has_best(folder: Path) -> bool:
    """Return whether the set that was best on held-out training images is stored."""
    return (folder / _TENSOR_FILES["best"]).exists()


def has_preprocessing(folder: Path) -> bool:
    """Return whether the transform is stored."""
    return (folder / PREPROCESSING_FILE).exists()


def save_values(folder: Path, values: StoredValues, which: str = "last") -> None:
    """Write stored values and labels."""
    packed: dict[str, Any] = {}
    if values.rounding is None:
        tensors = {**values.stored, "labels": values.row_labels}
    else:
        tensors, packed = packed_rows(values.stored, values.rounding, values.row_labels)
    if values.soft_labels is not None:
        tensors["soft_labels"] = soft_labels_as_stored(values.soft_labels)
    facts = {"class_names": list(values.class_names), "steps": values.steps}
    form = {"parameterization": values.parameterization, "image_shape": list(values.image_shape)}
    save_checked(folder / _TENSOR_FILES[which], tensors, {**facts, **form, **packed})


def soft_labels_as_stored(soft_labels: Tensor) -> Tensor:
    """Return soft labels as the file holds them: in float16 where that changes no value, else as they are."""
    half = soft_labels.half()
    return half if torch.equal(half.to(soft_labels.dtype), soft_labels) else soft_labels


def load_values(folder: Path, which: str) -> StoredValues:
    """Read stored values and labels.

    Raises:
        ArtifactError: the file is missing, damaged, or not ours.
    """
    path = folder / _TENSOR_FILES[which]
    if not path.exists() and which == "best":
        raise ArtifactError(f"{folder} has no best set: it was distilled without `eval_every`")
    tensors, facts = load_checked(path)
    soft_labels, rounding = tensors.pop("soft_labels", None), None
    try:
        if "packed" in facts:
            tensors, rounding = unpacked_rows(tensors, facts)
        labels, names, steps = tensors.pop("labels"), tuple(facts["class_names"]), int(facts["steps"])
        # Version 0.1 stored images as they are, and did not say so.
        channels, height, width = facts.get("image_shape") or tensors["images"].shape[1:]
    except KeyError as error:
        raise ArtifactError(f"{path} is not a distilled set of this tool (lacks {error})") from None
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is not a distilled set of this tool ({error})") from None
    form = facts.get("parameterization", "pixels")
    soft_labels = None if soft_labels is None else soft_labels.float()
    values = StoredValues(tensors, labels, names, steps, form, (channels, height, width), soft_labels, rounding)
    problem = _problem(values)
    if problem is not None:
        raise ArtifactError(f"{path} is not a distilled set of this tool: {problem}")
    return values


def _problem(values: StoredValues) -> str | None:
    """Return why the contents of a tensor file cannot be used; None if they can."""
    labels, classes = values.row_labels, len(values.class_names)
    if labels.dtype != torch.int64 or labels.ndim != 1 or len(labels) == 0:
        return "its labels are not whole numbers, one a row"
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        return f"it has a label outside its {classes} classes"
    if not all(isinstance(name, str) for name in values.class_names):
        return "its class names are not text"
    if any(tensor.shape[:1] != labels.shape for tensor in values.stored.values()):
        return "it does not have as many rows as labels"
    return _decoding_problem(values)


def _decoding_problem(values: StoredValues) -> str | None:
    """Return why the first row does not decode to images of the set's shape; None if it does."""
    row = {name: tensor[:1] for name, tensor in values.stored.items()}
    try:
        parameterization = values.decoder()
        images = parameterization.decode(row)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        return f"its rows are not values of {values.parameterization} ({error})"
    wanted = (parameterization.images_per_row, *values.image_shape)
    if images.dtype != torch.float32 or images.shape != wanted:
        return f"its rows decode to {images.dtype} {tuple(images.shape)}, not to float32 {wanted}"
    return None


def save_preprocessing(folder: Path, preprocessing: Preprocessing) -> None:
    """Write the transform between pixels and model space."""
    save_checked(folder / PREPROCESSING_FILE, preprocessing.tensors(), {"kind": preprocessing.kind})


def load_preprocessing(folder: Path) -> Preprocessing:
    """Read the transform between pixels and model space.

    Raises:
        ArtifactError: the file is missing, damaged, or not ours.
    """
    path = folder / PREPROCESSING_FILE
    tensors, metadata = load_checked(path)
    try:
        return preprocessing_from_tensors(metadata.get("kind", "missing"), tensors)
    except ArtifactError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None


def save_config(
    folder: Path, *, settings: Mapping[str, Any], dataset: Mapping[str, Any], record: Mapping[str, Any]
) -> None:
    """Write settings, data set and record as YAML for people and programs."""
    content = {"settings": dict(settings), "dataset": dict(dataset), "record": dict(record)}
    write_text(folder / CONFIG_FILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def load_config(folder: Path) -> dict[str, dict[str, Any]]:
    """Read what `save_config` wrote.

    Raises:
        ArtifactError: there is no run in the folder, or its config is damaged.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        raise ArtifactError(f"{folder} is not a run folder: it has no {CONFIG_FILE}")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or any(not isinstance(content.get(name), dict) for name in _SECTIONS):
        raise ArtifactError(f"{path} is damaged: it lacks one of {', '.join(_SECTIONS)}")
    return content


def save_history(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_text(folder / METRICS_FILE, "".join(json.dumps(dict(entry)) + "\n" for entry in history))


def load_history(folder: Path) -> list[dict[str, Any]]:
    """Read a metrics file up to its end, or to a line cut short by a killed process; missing gives none."""
    path = folder / METRICS_FILE
    entries: list[dict[str, Any]] = []
    if not path.exists():
        return entries
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            break
        if not isinstance(entry, dict) or "step" not in entry:
            break
        entries.append(entry)
    return entries


def save_checked(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors with facts and a checksum.

    All facts are one JSON text under one key: safetensors writes several keys in an order that changes from process to
    process, and equal sets should be equal files.
    """
    header = json.dumps({"format": _FORMAT, **facts, "crc32": checksum(tensors)}, sort_keys=True)
    write_tensors(path, tensors, {_HEADER: header})


def load_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and facts of a file that `save_checked` wrote.

    Raises:
        ArtifactError: it is missing, damaged, or not ours.
    """
    if not path.exists():
        raise ArtifactError(
            f"{path} is missing: the run is not finished (continue it with `resume`), or is not of this tool"
        )
    try:
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a mapping)
            facts = parse_json((stored.metadata() or {}).get(_HEADER, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(f"{path} is truncated or damaged ({error}); {_RESTORE}") from None
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise ArtifactError(f"{path} was not written by this tool, or by another version of it")
    if facts.get("crc32") != checksum(tensors):
        raise ArtifactError(f"{path} is damaged: its checksum differs; {_RESTORE}")
    return tensors, facts

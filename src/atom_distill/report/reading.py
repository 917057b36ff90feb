"""Everything that can be read of a run folder, complete or not, and what cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from atom_distill.artifact import folder as files
from atom_distill.artifact.bundled import is_bundled
from atom_distill.artifact.pictures import fit_contrast
from atom_distill.artifact.scores import SCORES_FILE, Score, load_scores
from atom_distill.artifact.snapshots import SNAPSHOTS_FILE, Snapshots, load_snapshots
from atom_distill.artifact.training_set import TrainingSet, decoded, images_per_stored
from atom_distill.base.errors import ArtifactError, AtomError, DataError
from atom_distill.config.distill import stored_form
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.original import request_of
from atom_distill.distillation.images_per_class import class_labels, first_of_each, images_per_class
from atom_distill.distillation.run_state import RunState, checkpoints, last_step, load_newest_checkpoint
from atom_distill.ops.parameterization import build_parameterization, count_bytes, restored
from atom_distill.ops.preprocessing import Preprocessing

Read = TypeVar("Read")

_RESULT_FILE = "distilled.safetensors"
_RUN_FILES = ("config.yaml", _RESULT_FILE, files.METRICS_FILE, SCORES_FILE, SNAPSHOTS_FILE)
"""A run folder has at least one of these, or a checkpoint, however damaged."""


@dataclass(eq=False)
class RunView:
    """A run, as far as it can be read.

    Attributes:
        folder: of the run.
        name: for people; the name of the folder.
        settings: by name; empty if config.yaml cannot be read.
        dataset: name, size, fingerprint and request of the real data set.
        record: versions, machine, command, seconds.
        images: in model space, float32 [M, C, H, W]; None if there are none.
        labels: int64 [M], ascending.
        class_names: index = label.
        pictures: the images with fitted contrast, uint8 [M, C, H, W].
        steps: steps done when the images were taken.
        finished: True if they are the result.
        preprocessing: between pixels and model space.
        snapshots: pictures of the images at some steps.
        history: loss and more, by step.
        scores: every evaluation.
        values: what the file of the result holds; None if there is none.
        real: the real data set, where it is available.
        missing: what cannot be shown and why, one sentence each: "<what>: <why>".
    """

    folder: Path
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    images: Tensor | None = None
    labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    class_names: tuple[str, ...] = ()
    pictures: Tensor | None = None
    steps: int = 0
    finished: bool = False
    preprocessing: Preprocessing | None = None
    snapshots: Snapshots | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    values: files.StoredValues | None = None
    real: ImageDataset | None = None
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.name or self.folder.resolve().name

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.settings.get("method", "unknown"))

    @property
    def loading(self) -> str:
        """Python that loads the set."""
        if is_bundled(self.folder):
            return f"ad.load_distilled({json.dumps(self.folder.name)})"
        return f"ad.DistilledDataset.load({json.dumps(str(self.folder))})"

    @property
    def loading_real(self) -> str:
        """Python that loads the real data set; empty where that was made in memory."""
        try:
            request = request_of(self.dataset)
        except DataError:
            return ""
        place = json.dumps(str(request.pop("name_or_path", "")))
        return f"ad.load_dataset({', '.join([place, *(f'{name}={value!r}' for name, value in request.items())])})"

    @property
    def is_optimized(self) -> bool:
        """True if the run optimizes its images, rather than to select or import them."""
        return not ("selection" in self.record or "imported" in self.record)

    @property
    def per_class(self) -> Tensor:
        """Images of each class, int64 [K]."""
        return torch.bincount(self.labels, minlength=len(self.class_names))

    @property
    def values_per_image(self) -> int | None:
        """Values of an image; None where there is none."""
        shown = self.pictures if self.images is None else self.images
        return None if shown is None or not len(shown) else math.prod(shown.shape[1:])

    @property
    def stored_per_class(self) -> int | None:
        """Stored images of each class; None where it is not known, or the classes differ."""
        stored = self.settings.get("pictures") or self.settings.get("ipc")
        return stored if isinstance(stored, int) and len(set(self.per_class.tolist())) == 1 else None

    @property
    def stored_bytes(self) -> int | None:
        """Size of the result with its soft labels and transform; None if there is none."""
        return self._size(self.values)

    def bytes_of_first(self, count: int) -> int | None:
        """Return the size of the first stored images of each class with all that they need; None without a result."""
        if self.values is None:
            return None
        rows = first_of_each(torch.bincount(self.values.row_labels), count * len(self.class_names))
        soft = self.values.soft_labels
        if soft is not None:
            soft = soft.unflatten(0, (len(self.values.row_labels), -1))[rows].flatten(0, 1)
        stored = {name: tensor[rows] for name, tensor in self.values.stored.items()}
        return self._size(
            self.values._replace(stored=stored, row_labels=self.values.row_labels[rows], soft_labels=soft)
        )

    def _size(self, values: files.StoredValues | None) -> int | None:
        if values is None or self.preprocessing is None:
            return None
        return values.size() + count_bytes(self.preprocessing.tensors())

    @property
    def images_per_row(self) -> int:
        """Images that a stored row decodes to."""
        if self.images is None:
            return 1
        channels, height, width = self.images.shape[1:]
        return build_parameterization(stored_form(self.settings), (channels, height, width)).images_per_row

    @property
    def images_per_stored(self) -> float:
        """Images for each of the size in the settings; 1 where it is not known."""
        if self.images is None or not self.class_names:
            return 1.0
        found = images_per_stored(self.settings, len(self.images), len(self.class_names), self.images.shape[1:])
        return found or 1.0

    def attempt(self, what: str, read: Callable[[], Read]) -> Read | None:
        """Return what `read` returns; if it fails, return None and add the reason to `missing`."""
        try:
            return read()
        except (AtomError, OSError, ValueError, KeyError, TypeError) as error:
            self.missing.append(f"{what}: {error}")
            return None

    def is_missing(self, what: str) -> bool:
        """Return True if `missing` has a sentence on it."""
        return any(line.startswith(f"{what}: ") for line in self.missing)


RealDataset = Callable[[Mapping[str, Any]], ImageDataset]
"""From a run's `dataset` to the data set itself; raises an AtomError if it is not available."""


def read_run(folder: Path, real_dataset: RealDataset) -> RunView:
    """Return everything of a run that can be read.

    Args:
        folder: of the run.
        real_dataset: loads the real data set.

    Raises:
        ArtifactError: the folder has no file of a run.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder} is neither a folder nor a set that `atom sets` lists; give the folder of a run, as written by "
            "`atom distill`"
        )
    if not any((folder / name).exists() for name in _RUN_FILES) and not checkpoints(folder):
        raise ArtifactError(
            f"{folder} is not a run folder: it has none of {', '.join(_RUN_FILES)}; `atom distill` writes one"
        )
    view = RunView(folder)
    config = view.attempt("Settings", lambda: files.load_config(folder)) or {}
    view.settings, view.dataset = config.get("settings", {}), config.get("dataset", {})
    view.record = config.get("record", {})
    if config:
        view.real = view.attempt("Real images", lambda: real_dataset(view.dataset))
    view.preprocessing = view.attempt("Preprocessing", lambda: files.load_preprocessing(folder))
    view.snapshots = view.attempt("Evolution", lambda: load_snapshots(folder))
    _read_images(view)
    _make_pictures(view)
    _read_history(view)
    view.scores = view.attempt("Scores", lambda: load_scores(folder)) or []
    if not view.scores and not view.is_missing("Scores"):
        view.missing.append(f"Scores: there are none; `atom evaluate {folder}` adds them")
    return view


def _read_images(view: RunView) -> None:
    """Read the result; if the run is unfinished, the newest checkpoint."""

    def result() -> tuple[files.StoredValues, TrainingSet]:
        values = files.load_values(view.folder, "last")
        return values, decoded(values.stored, values.row_labels, values.decoder(), values.soft_labels)

    found = view.attempt("Distilled images", result) if (view.folder / _RESULT_FILE).exists() else None
    if found is not None:
        values, made = found
        order = made.labels.argsort(stable=True)  # an imported set may be in any order
        view.images, view.labels, view.class_names = made.images[order], made.labels[order], values.class_names
        view.steps, view.finished, view.values = values.steps, True, values
    if found is None or (view.is_optimized and last_step(view.folder) > view.steps):
        _read_checkpoint(view)


def _read_checkpoint(view: RunView) -> None:
    state = view.attempt("Checkpoint", lambda: load_newest_checkpoint(view.folder))
    if state is None:
        if view.images is None:
            view.missing.append("Images: there is neither a result nor a checkpoint yet")
        return
    images = view.attempt("Images of the checkpoint", lambda: _decoded_checkpoint(view, state))
    if images is None:
        return
    if len(view.labels) != len(images):
        view.labels, view.class_names = _labels(view, len(images), state.images_per_class)
    view.images, view.steps, view.finished = images, state.step, False
    steps = view.settings.get("steps", "?")
    status = f"the run is at step {state.step} of {steps}"
    if state.step == steps:
        status = f"it is not in the folder; the checkpoint of step {steps} is shown, and --resume writes the result"
    view.missing.append(f"Result: {status}")


def _decoded_checkpoint(view: RunView, state: RunState) -> Tensor:
    """Return the images of a checkpoint in model space."""
    name, shape = stored_form(view.settings), view.real.image_shape if view.real is not None else None
    if name == "pixels":
        channels, height, width = state.result["images"].shape[1:]
        shape = (channels, height, width)
    if shape is None:
        raise ArtifactError(f"the data set is not available, without which images stored as {name} cannot be decoded")
    return restored(name, shape, state.form).decode(state.result)


def _labels(view: RunView, count: int, per_class: Tensor | None) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels and class names of a checkpoint's images; those of version 0.1 do not hold them."""
    real = view.real
    if per_class is None:
        per_class = _infer_per_class(view, count)
    if per_class is None or int(per_class.sum()) != count:
        view.missing.append("Classes: the checkpoint does not say to which classes its images belong")
        return torch.zeros(count, dtype=torch.int64), ("all images",)
    if real is not None and real.num_classes == len(per_class):
        return class_labels(per_class), real.class_names
    return class_labels(per_class), tuple(f"class {label}" for label in range(len(per_class)))


def _infer_per_class(view: RunView, count: int) -> Tensor | None:
    """Return the images per class, int64 [K], as the settings allocate them; None if that does not fit the count."""
    ipc, budget, real = view.settings.get("ipc"), view.settings.get("budget"), view.real
    ipc = ipc or view.settings.get("pictures")
    if real is not None and (ipc or budget):
        per_class = view.attempt("Classes", lambda: images_per_class(real, ipc, budget))
        if per_class is not None and int(per_class.sum()) == count:
            return per_class
    return torch.full((count // ipc,), ipc) if isinstance(ipc, int) and ipc and count % ipc == 0 else None


def _make_pictures(view: RunView) -> None:
    """Invert the preprocessing; where that is not possible, show the last snapshot instead."""
    images, preprocessing = view.images, view.preprocessing
    if images is not None and preprocessing is not None:
        view.pictures = view.attempt("Pictures", lambda: fit_contrast(preprocessing.invert(images)))
    if view.pictures is not None or view.snapshots is None:
        return
    shown = view.snapshots
    if images is None or len(shown.rows) != len(images):
        if len(view.labels) < int(shown.rows.max()) + 1:
            view.labels, view.class_names = torch.zeros(len(shown.rows), dtype=torch.int64), ("all images",)
        else:
            view.labels = view.labels[shown.rows]
    view.images, view.pictures, view.steps = None, shown.pixels[-1], shown.steps[-1]
    view.snapshots = shown._replace(rows=torch.arange(len(shown.rows)))
    view.missing.append(f"Images: the pictures taken after step {view.steps} are shown instead")


def _read_history(view: RunView) -> None:
    """Keep the entries whose loss is a number."""
    path = view.folder / files.METRICS_FILE

    def read() -> tuple[int, list[dict[str, Any]]]:
        # Lines are counted first: those that a run appends meanwhile are no loss.
        lines = sum(bool(line.strip()) for line in path.read_bytes().splitlines()) if path.exists() else 0
        return lines, files.load_history(view.folder)

    found = view.attempt("Curves", read)
    if found is None:
        return
    lines, entries = found
    view.history = [entry for entry in entries if is_number(entry.get("step")) and is_number(entry.get("loss"))]
    if not lines and view.is_optimized and not is_bundled(view.folder):  # the package leaves it out
        view.missing.append(f"Curves: there is no {files.METRICS_FILE}")
    if len(view.history) < lines:
        view.missing.append(f"Curves: {lines - len(view.history)} of {lines} lines of {path} are damaged or truncated")


def is_number(value: object) -> bool:
    """Return True if a value of a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

"""What can be read of a run folder, whole or not, and what cannot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from atom_distill.artifact import folder as files
from atom_distill.artifact.distilled import TrainingSet, decoded
from atom_distill.artifact.pictures import fit_contrast
from atom_distill.artifact.scores import SCORES_FILE, Score, load_scores
from atom_distill.artifact.snapshots import SNAPSHOTS_FILE, Snapshots, load_snapshots
from atom_distill.base.errors import ArtifactError, AtomError
from atom_distill.data.dataset import ImageDataset
from atom_distill.distillation.images_per_class import class_labels, images_per_class
from atom_distill.distillation.run_state import RunState, checkpoints, last_step, load_newest_checkpoint
from atom_distill.ops.parameterization import build_parameterization
from atom_distill.ops.preprocessing import Preprocessing

Read = TypeVar("Read")

_SIGNS = ("config.yaml", "distilled.safetensors", "metrics.jsonl", SCORES_FILE, SNAPSHOTS_FILE)
"""Files of which a run folder has one at least, however damaged."""


@dataclass
class RunView:
    """A run as far as it can be read.

    Attributes:
        folder: of the run.
        name: what it is called: the folder's own name.
        settings: by name; empty where config.yaml cannot be read.
        dataset: what it was distilled from.
        record: versions, machine, command, seconds.
        images: in model space, float32 [M, C, H, W]; None where there are none.
        labels: int64 [M], ascending.
        class_names: index = label.
        pictures: the images for people, contrast-fitted, uint8 [M, C, H, W].
        steps: steps done when the images were taken.
        finished: whether these are the last ones.
        preprocessing: between pixels and model space.
        snapshots: the images on their way.
        history: losses by step.
        scores: every evaluation.
        real: the data set, where it is at hand.
        missing: what cannot be shown, and why; one sentence each.
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
    real: ImageDataset | None = None
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.name or self.folder.resolve().name

    @property
    def method(self) -> str:
        """What made it."""
        return str(self.settings.get("method", "unknown"))

    @property
    def moves(self) -> bool:
        """Whether images are optimized here: a selection takes them, an import brings them."""
        return not ("selection" in self.record or "imported" in self.record)

    @property
    def per_class(self) -> Tensor:
        """Images of each class, int64 [K]."""
        return torch.bincount(self.labels, minlength=len(self.class_names))

    def attempt(self, what: str, read: Callable[[], Read]) -> Read | None:
        """Read something, or keep in `missing` why it is not there."""
        try:
            return read()
        except (AtomError, OSError, ValueError, KeyError, TypeError) as error:
            self.missing.append(f"{what}: {error}")
            return None


RealSet = Callable[[Mapping[str, Any]], ImageDataset]
"""From what a run says of its data set to the set itself; raises an AtomError where it is not at hand."""


def read_run(folder: Path, real_set: RealSet) -> RunView:
    """Read all of a run that can be read.

    Args:
        folder: of the run.
        real_set: finds the data set.

    Raises:
        ArtifactError: nothing of a run is there.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder; give the folder of a run, which `atom distill` makes")
    if not any((folder / name).exists() for name in _SIGNS) and not checkpoints(folder):
        raise ArtifactError(f"{folder} holds nothing of a run ({', '.join(_SIGNS)}); `atom distill` makes one")
    view = RunView(folder)
    config = view.attempt("Settings", lambda: files.load_config(folder)) or {}
    view.settings, view.dataset = config.get("settings", {}), config.get("dataset", {})
    view.record = config.get("record", {})
    if config:
        view.real = view.attempt("Real images", lambda: real_set(view.dataset))
    view.preprocessing = view.attempt("The way back to pixels", lambda: files.load_preprocessing(folder))
    view.snapshots = view.attempt("The evolution", lambda: load_snapshots(folder))
    _read_images(view)
    _draw(view)
    _read_history(view)
    view.scores = view.attempt("Scores", lambda: load_scores(folder)) or []
    if not view.scores and not any(line.startswith("Scores") for line in view.missing):
        view.missing.append(f"Scores: there are none yet; `atom evaluate {folder}` adds them")
    return view


def _read_images(view: RunView) -> None:
    """Take the result, or the newest checkpoint where the run goes on or was stopped."""
    stored = None
    if (view.folder / "distilled.safetensors").exists():
        stored = view.attempt("The finished set", lambda: _decoded(files.load_values(view.folder, "last")))
    if stored is not None:
        made, values = stored
        view.images, view.labels, view.class_names = made.images, made.labels, values.class_names
        view.steps, view.finished = values.steps, True
        order = view.labels.argsort(stable=True)  # others' sets may come in any order
        view.images, view.labels = view.images[order], view.labels[order]
    if (view.moves and last_step(view.folder) > view.steps) or stored is None:
        _read_checkpoint(view)


def _read_checkpoint(view: RunView) -> None:
    state = view.attempt("The newest checkpoint", lambda: load_newest_checkpoint(view.folder))
    if state is None:
        if view.images is None:
            view.missing.append("Images: there is no finished set and no checkpoint yet")
        return
    images = view.attempt("The images of the newest checkpoint", lambda: _decoded_checkpoint(view, state))
    if images is None:
        return
    count = len(images)
    if len(view.labels) != count:
        view.labels, view.class_names = _labels(view, count, state.images_per_class)
    view.images, view.steps, view.finished = images, state.step, False
    goal = view.settings.get("steps", "?")
    told = f"the run is at step {state.step} of {goal}"
    if state.step == goal:
        told = f"it is not in the folder; shown is the checkpoint of step {goal}, and --resume writes the rest"
    view.missing.append(f"The result: {told}")


def _decoded(values: files.StoredValues) -> tuple[TrainingSet, files.StoredValues]:
    """Return a stored set decoded, and as it is stored."""
    return decoded(values), values


def _decoded_checkpoint(view: RunView, state: RunState) -> Tensor:
    """Return the images of a checkpoint in model space."""
    form = str(view.settings.get("parameterization") or "pixels")
    if form == "pixels":
        return state.result["images"]
    if view.real is None:
        raise ArtifactError(f"the data set is not at hand, without which images stored as {form} cannot be decoded")
    return build_parameterization(form, view.real.image_shape).decode(state.result)


def _labels(view: RunView, count: int, stored: Tensor | None) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels and class names of a checkpoint's images; those of version 0.1 do not hold them."""
    ipc, budget, real = view.settings.get("ipc"), view.settings.get("budget"), view.real
    if stored is not None and int(stored.sum()) == count:
        numbered = tuple(f"class {label}" for label in range(len(stored)))
        return class_labels(stored), real.class_names if real is not None else numbered
    if real is not None and (ipc or budget):
        per_class = view.attempt("Classes", lambda: images_per_class(real, ipc, budget))
        if per_class is not None and int(per_class.sum()) == count:
            return class_labels(per_class), real.class_names
    if isinstance(ipc, int) and ipc and count % ipc == 0:
        classes = count // ipc
        return class_labels(torch.full((classes,), ipc)), tuple(f"class {label}" for label in range(classes))
    view.missing.append("Classes: an unfinished run does not say whose its images are")
    return torch.zeros(count, dtype=torch.int64), ("all images",)


def _draw(view: RunView) -> None:
    """Bring the images back to pixels; where that cannot be done, the last snapshot shows them."""
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
    view.missing.append(f"The images themselves: shown are the pictures taken after step {view.steps}")


def _read_history(view: RunView) -> None:
    """Keep the steps whose loss is a number."""
    path = view.folder / files.METRICS_FILE
    found = view.attempt("Curves", lambda: files.load_history(view.folder)) or []
    view.history = [entry for entry in found if _is_number(entry.get("step")) and _is_number(entry.get("loss"))]
    if not path.exists() or not path.stat().st_size:
        if view.moves:
            view.missing.append(f"Curves: there is no {files.METRICS_FILE}")
        return
    lines = sum(bool(line.strip()) for line in path.read_bytes().splitlines())
    if len(view.history) < lines:
        view.missing.append(f"Curves: {lines - len(view.history)} of {lines} lines of {path} are damaged or cut short")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

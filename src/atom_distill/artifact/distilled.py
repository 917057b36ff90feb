"""DistilledDataset: the result of a run, in memory and as a folder that explains itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from atom_distill.artifact import folder as files
from atom_distill.artifact.card.content import CardContent
from atom_distill.artifact.card.layout import GRID_FILE
from atom_distill.artifact.card.render_card import render_card
from atom_distill.artifact.heads import first_rows, images_within, of_rows, settings_of_head
from atom_distill.artifact.one_run import require_one_run
from atom_distill.artifact.pictures import fit_contrast, grid, save_images, save_picture
from atom_distill.artifact.scores import Score, changing_scores, load_scores, save_scores, with_score
from atom_distill.artifact.training_set import TrainingSet, decoded, images_per_stored
from atom_distill.base.errors import ArtifactError, ConfigError, ShapeError
from atom_distill.base.files import write_text
from atom_distill.base.progress import note
from atom_distill.base.writable import noting_failure
from atom_distill.config.distill import stored_form, stored_form_title
from atom_distill.ops.parameterization import (
    Parameterization,
    Pixels,
    Quantized,
    Stored,
    count_bytes,
    count_values,
    rows_of,
)
from atom_distill.ops.preprocessing import Preprocessing

if TYPE_CHECKING:
    import datasets
    from torch.utils.data import TensorDataset

Which = Literal["last", "best"]


@dataclass(repr=False, eq=False)
class DistilledDataset:
    """A synthetic training set and everything needed to use, show and reproduce it.

    It holds the stored values; `training_set` decodes them into `images`, `labels`, ...

    Attributes:
        stored: stored values by name, float32 [R, ...], class after class.
        row_labels: class of each stored row, int64 [R].
        class_names: index = label.
        preprocessing: transform between pixels and model space; apply it to the real images you test on.
        settings: the run's final settings, by name.
        parameterization: decodes the stored values to images.
        dataset: name, source, fingerprint and loading request of the real set.
        record: versions, machine, command and method.
        history: one entry per step: step, loss, its terms by name, and evaluations on held-out training images.
        scores: evaluations on the test split.
        steps: steps done when the values were taken.
        which: whether these are the last values, or the best on held-out training images.
        best: of a last set, the best one on held-out training images, if the run evaluated.
        folder: where it is stored; None if it is in memory only.
        soft_labels: float32 [M, K], a row for each decoded image; None for most sets.
        first: for the head of another set (`head`), how many stored images of each class it has; otherwise None.
    """

    stored: Stored
    row_labels: Tensor
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    settings: Mapping[str, Any]
    parameterization: Parameterization
    dataset: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    scores: list[Score] = field(default_factory=list)
    steps: int = 0
    which: Which = "last"
    best: DistilledDataset | None = None
    folder: Path | None = None
    soft_labels: Tensor | None = None
    first: int | None = None

    def __post_init__(self) -> None:
        if self.row_labels.shape != (rows_of(self.stored),):
            raise ShapeError(
                f"a distilled set needs a label for each of its {rows_of(self.stored)} rows, "
                f"got {tuple(self.row_labels.shape)}"
            )
        wanted = (len(self), len(self.class_names))
        if self.soft_labels is not None and self.soft_labels.shape != wanted:
            raise ShapeError(f"soft labels must be of shape {wanted}, got {tuple(self.soft_labels.shape)}")
        if bool((self.row_labels.diff() < 0).any()):
            self._sort_by_class()

    def _sort_by_class(self) -> None:
        """Put the rows in the order of their labels, which heads, packed files and pictures take for granted."""
        order = self.row_labels.argsort(stable=True)
        self.stored = {name: values[order] for name, values in self.stored.items()}
        if self.soft_labels is not None:
            self.soft_labels = of_rows(self.soft_labels, order, len(order))
        self.row_labels = self.row_labels[order]

    @classmethod
    def from_images(
        cls,
        images: Tensor,
        labels: Tensor,
        class_names: tuple[str, ...],
        preprocessing: Preprocessing,
        settings: Mapping[str, Any],
        **facts: Any,
    ) -> DistilledDataset:
        """Return a set that stores its images as they are.

        Args:
            images: in model space, float32 [M, C, H, W].
            labels: int64 [M], in any order; the set has its images class after class.
            class_names: index = label.
            preprocessing: transform between pixels and model space.
            settings: settings by name.
            facts: any other attributes of this class by name.

        Raises:
            ShapeError: images and labels do not belong together.
            ConfigError: by the settings, the images are stored in another form.
        """
        if stored_form(settings) != "pixels":
            raise ConfigError(f"the images are stored as they are: leave {stored_form(settings)} out of the settings")
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ShapeError(
                "a distilled set needs images [N, C, H, W] and labels [N], "
                f"got {tuple(images.shape)} and {tuple(labels.shape)}"
            )
        pixels = Pixels((images.shape[1], images.shape[2], images.shape[3]))
        return cls(pixels.encode(images), labels, class_names, preprocessing, settings, pixels, **facts)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        made = f"{self.settings.get('method', 'unknown method')}, {self.steps} steps"
        return f"DistilledDataset({len(self)} images {shape}, {len(self.class_names)} classes, {made})"

    def __len__(self) -> int:
        return len(self.row_labels) * self.parameterization.images_per_row

    def training_set(self) -> TrainingSet:
        """Return the decoded images with their labels."""
        return self._training_set

    @cached_property
    def _training_set(self) -> TrainingSet:
        return decoded(self.stored, self.row_labels, self.parameterization, self.soft_labels)

    @property
    def images(self) -> Tensor:
        """The decoded images in model space, float32 [M, C, H, W]."""
        return self.training_set().images

    @property
    def labels(self) -> Tensor:
        """Their labels, int64 [M]."""
        return self.training_set().labels

    @property
    def targets(self) -> Tensor:
        """What a network is trained to predict: labels int64 [M], or soft labels float32 [M, K] if there are any."""
        return self.training_set().targets

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return self.parameterization.image_shape

    @property
    def per_class(self) -> Tensor:
        """Images of each class, int64 [K]."""
        return self._rows_per_class * self.parameterization.images_per_row

    @property
    def _rows_per_class(self) -> Tensor:
        return torch.bincount(self.row_labels, minlength=len(self.class_names))

    @property
    def ipc(self) -> int | None:
        """Images per class; None where the classes differ."""
        counts = set(self.per_class.tolist())
        return counts.pop() if len(counts) == 1 else None

    @property
    def images_per_stored(self) -> float:
        """Decoded images per stored image of full size; 1 if the set stores pixels."""
        found = images_per_stored(self.settings, len(self), len(self.class_names), self.image_shape)
        return found or len(self) / len(self.row_labels)

    @property
    def form(self) -> str | None:
        """Parameterization and precision of the stored values; None for float32 pixels."""
        return stored_form_title(self.settings)

    @property
    def soft_label_bytes(self) -> int:
        """Size of the soft labels in the file, bytes; 0 for a set without any."""
        return 0 if self.soft_labels is None else files.soft_labels_as_stored(self.soft_labels).nbytes

    @property
    def stored_values(self) -> int:
        """Number of the values that the images are decoded from."""
        return count_values(self.stored)

    @cached_property
    def stored_bytes(self) -> int:
        """Size of everything the set needs, bytes: values (compressed if rounded), soft labels, transform."""
        return self.values().size() + count_bytes(self.preprocessing.tensors())

    def head(self, ipc: int) -> DistilledDataset:
        """Return the set of the first stored images of each class, in memory; a nested run is made for this.

        Args:
            ipc: stored images per class; pictures, if the size of the set is in bytes.

        Raises:
            ConfigError: no class has that many.
        """
        held = int(self._rows_per_class.max())
        if not 1 <= ipc <= held:
            possible = "1, since each class has one image" if held == 1 else f"from 1 to {held}, the images of a class"
            raise ConfigError(f"`ipc` must be {possible} here, got {ipc}")
        return self._first_rows(ipc).with_measured_size()

    def _first_rows(self, ipc: int) -> DistilledDataset:
        rows, soft = first_rows(self.row_labels, ipc), self.soft_labels
        return replace(
            self,
            stored={name: values[rows] for name, values in self.stored.items()},
            row_labels=self.row_labels[rows],
            settings=settings_of_head(self.settings, ipc, len(rows)),
            scores=[],
            best=None,
            folder=None,
            soft_labels=None if soft is None else of_rows(soft, rows, len(self.row_labels)),
            first=ipc,
        )

    def head_within(self, bytes: int) -> DistilledDataset:
        """Return the largest head that takes at most so many bytes per class, everything it needs counted.

        Raises:
            ConfigError: not even the first image of each class fits.
        """
        most, classes = int(self._rows_per_class.max()), len(self.class_names)
        fits = images_within(bytes, most, lambda ipc: math.ceil(self._first_rows(ipc).stored_bytes / classes))
        return self._first_rows(fits).with_measured_size()

    def with_measured_size(self) -> DistilledDataset:
        """Return the set with the setting `bytes`, if any, replaced by its measured size; likewise its best set."""
        if not self.settings.get("bytes"):
            return self
        best = None if self.best is None else self.best.with_measured_size()
        settings = {**self.settings, "bytes": math.ceil(self.stored_bytes / len(self.class_names))}
        return replace(self, settings=settings, best=best)

    def pixels(self) -> Tensor:
        """Return the images through the inverse preprocessing, rounded and clipped: uint8 [M, C, H, W]."""
        return self.preprocessing.invert(self.images).mul(255).round().clamp(0, 255).to(torch.uint8)

    def card_content(self) -> CardContent:
        """Return what the card shows of the set."""
        return CardContent(
            per_class=tuple(self.per_class.tolist()),
            class_names=self.class_names,
            image_shape=self.image_shape,
            preprocess=self.preprocessing.kind,
            settings=self.settings,
            dataset=self.dataset,
            record=self.record,
            steps=self.steps,
            which=self.which,
            has_soft_labels=self.soft_labels is not None,
            soft_label_bytes=self.soft_label_bytes,
            stored_values=self.stored_values,
            stored_bytes=self.stored_bytes,
            rounded=isinstance(self.parameterization, Quantized),
            scores=self.scores,
        )

    def to_torch(self) -> TensorDataset:
        """Return a PyTorch dataset of (image in model space, label); a soft label is [K] probabilities."""
        from torch.utils.data import TensorDataset

        return TensorDataset(self.images, self.targets)

    def to_hf(self) -> datasets.Dataset:
        """Return a Hugging Face dataset of pictures (`image`), named labels (`label`) and, if any, `soft_label`."""
        from atom_distill.artifact.hugging_face import hugging_face_dataset

        return hugging_face_dataset(self.pixels(), self.labels, self.class_names, self.soft_labels)

    def save(self, folder: str | Path) -> None:
        """Write the set as a run folder, in one process only; a folder that holds anything else is refused.

        Raises:
            ArtifactError: the folder is in use, or this is the best set of a run, which the last one brings along.
        """
        if self.which == "best" and self.first is None:
            raise ArtifactError("the best set of a run is saved with the last one: export it, or save that one")
        with files.sole_use(Path(folder), resume=False):
            self.write_into(Path(folder))

    def write_into(self, folder: Path) -> None:
        """Write all files into a folder that is this set's own already; each appears whole or not at all."""
        (folder / files.CARD_FILE).unlink(missing_ok=True)  # it marks a folder whose other files are all written
        files.save_values(folder, self.values())
        files.save_preprocessing(folder, self.preprocessing)
        if self.best is not None:
            files.save_values(folder, self.best.values(), which="best")
        files.save_config(folder, settings=self.settings, dataset=self.dataset, record=self.record)
        files.save_history(folder, self.history)
        save_images(folder / "images", self.pixels(), self.labels.tolist(), self.class_names)
        save_picture(folder / GRID_FILE, grid(fit_contrast(self.preprocessing.invert(self.images)), self.per_class))
        with changing_scores(folder):
            self.scores = load_scores(folder) or self.scores  # a run of more steps has those of fewer
            save_scores(folder, self.scores)
            write_text(folder / files.CARD_FILE, render_card(self.card_content()))
        self.folder = folder

    def values(self) -> files.StoredValues:
        """Return what is stored, as the file of the run folder holds it."""
        return files.StoredValues(
            stored=self.stored,
            row_labels=self.row_labels,
            class_names=self.class_names,
            steps=self.steps,
            parameterization=stored_form(self.settings),
            image_shape=self.image_shape,
            soft_labels=self.soft_labels,
            rounding=self.parameterization.steps if isinstance(self.parameterization, Quantized) else None,
        )

    def add_score(self, score: Score) -> list[Score]:
        """Add a score to the set, and to `scores.json` and the card if it has a folder; return all scores.

        It replaces an earlier score with the same settings whose networks it includes. Call it in one process only.
        """
        if self.folder is None:
            self.scores = with_score(self.scores, score)
            return self.scores
        with changing_scores(self.folder), noting_failure(self.folder, "the score"):
            self.scores = with_score(load_scores(self.folder), score)
            save_scores(self.folder, self.scores)
            shown = DistilledDataset.load(self.folder)  # the last images with all they have, whichever were scored
            write_text(self.folder / files.CARD_FILE, render_card(shown.card_content()))
        return self.scores

    @classmethod
    def load(cls, folder: str | Path, which: Which = "last") -> DistilledDataset:
        """Read a run folder.

        Args:
            folder: a folder written by `save` or by a run.
            which: the last values, or the best on held-out training images.

        Raises:
            ArtifactError: there is no finished run, a file is missing or damaged, or there is no best set.
        """
        source = Path(folder)
        config, preprocessing = files.load_config(source), files.load_preprocessing(source)

        def read(which: Which, best: DistilledDataset | None = None) -> DistilledDataset:
            values = files.load_values(source, which)
            require_one_run(source, values, config["settings"], preprocessing)
            return cls(
                stored=values.stored,
                row_labels=values.row_labels,
                class_names=values.class_names,
                preprocessing=preprocessing,
                settings=config["settings"],
                parameterization=values.decoder(),
                dataset=config["dataset"],
                record=config["record"],
                history=files.load_history(source),
                scores=load_scores(source),
                steps=values.steps,
                which=which,
                best=best,
                folder=source,
                soft_labels=values.soft_labels,
            )

        best = None
        if which == "last" and files.has_best(source):
            try:
                best = read("best")
            except ArtifactError as error:
                note(f"the best set is left out: {error}")
        return read(which, best)

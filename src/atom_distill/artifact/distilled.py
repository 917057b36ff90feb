"""DistilledDataset: the result of a run, in memory and as a folder that explains itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from atom_distill.artifact import folder as files
from atom_distill.artifact.card import GRID_FILE, card
from atom_distill.artifact.pictures import fit_contrast, grid, save_images, save_picture
from atom_distill.artifact.scores import Score, load_scores, save_scores
from atom_distill.base.errors import ArtifactError, ShapeError
from atom_distill.base.files import write_text
from atom_distill.base.image_grid import to_picture
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.processes.ranks import current_ranks

if TYPE_CHECKING:
    import datasets
    from torch.utils.data import TensorDataset

Which = Literal["last", "best"]


@dataclass(repr=False)
class DistilledDataset:
    """A synthetic training set and everything needed to use, show and reproduce it.

    Attributes:
        images: in model space, float32 [M, C, H, W], class after class.
        labels: int64 [M].
        class_names: index = label.
        soft_labels: float32 [M, K], probabilities to learn in place of the labels; None for most sets.
        preprocessing: between pixels and model space; apply it to the real images you test on.
        settings: the run's final settings, by name.
        dataset: name, source, fingerprint and loading request of the real set.
        record: versions, machine and command.
        history: one entry per step: step, loss, its terms by name, and evaluations on held-out training images.
        scores: evaluations on the test split.
        steps: steps done when these images were taken.
        which: the last images, or the best on held-out training images.
        best: the best set on held-out training images beside this last one, if the run evaluated.
        folder: where it is stored; None for one that is in memory only.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    settings: Mapping[str, Any]
    dataset: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    scores: list[Score] = field(default_factory=list)
    steps: int = 0
    which: Which = "last"
    best: DistilledDataset | None = None
    folder: Path | None = None
    soft_labels: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ShapeError(
                "a distilled set needs images [N, C, H, W] and labels [N], "
                f"got {tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            )
        wanted = (len(self.labels), len(self.class_names))
        if self.soft_labels is not None and self.soft_labels.shape != wanted:
            raise ShapeError(f"soft labels must be of shape {wanted}, got {tuple(self.soft_labels.shape)}")

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.images.shape[1:]))
        made = f"{self.settings.get('method', 'unknown method')}, {self.steps} steps"
        return f"DistilledDataset({len(self)} images {shape}, {len(self.class_names)} classes, {made})"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def per_class(self) -> Tensor:
        """Images of each class, int64 [K]."""
        return torch.bincount(self.labels, minlength=len(self.class_names))

    @property
    def ipc(self) -> int | None:
        """Images per class; None where the classes differ."""
        counts = set(self.per_class.tolist())
        return counts.pop() if len(counts) == 1 else None

    @property
    def targets(self) -> Tensor:
        """What a network is trained to say: labels int64 [N], or the soft labels float32 [N, K] if there are any."""
        return self.labels if self.soft_labels is None else self.soft_labels

    def pixels(self) -> Tensor:
        """Give the images through the inverse preprocessing, rounded and clipped: uint8 [N, C, H, W]."""
        intensities = self.preprocessing.invert(self.images)
        return intensities.mul(255).round().clamp(0, 255).to(torch.uint8)

    def to_torch(self) -> TensorDataset:
        """Give a PyTorch dataset of (image in model space, label); the label is [K] probabilities if it is soft."""
        from torch.utils.data import TensorDataset

        return TensorDataset(self.images, self.targets)

    def to_hf(self) -> datasets.Dataset:
        """Give a Hugging Face dataset of pictures (`image`), named labels (`label`) and, if any, `soft_label`."""
        from datasets import ClassLabel, Dataset, Features, Image, Sequence, Value

        features = {"image": Image(), "label": ClassLabel(names=list(self.class_names))}
        columns: dict[str, Any] = {"image": [to_picture(image) for image in self.pixels()]}
        columns["label"] = self.labels.tolist()
        if self.soft_labels is not None:
            features["soft_label"] = Sequence(Value("float32"))
            columns["soft_label"] = self.soft_labels.numpy()
        return Dataset.from_dict(columns, features=Features(features))

    def save(self, folder: str | Path) -> None:
        """Write it as a folder; what the folder holds of another set is refused, not overwritten.

        Processes that have joined all call it, and the first one writes.

        Raises:
            ArtifactError: the folder is in use.
        """

        def write() -> None:
            files.claim(target)
            self.write_into(target)

        target = Path(folder)
        current_ranks().broadcast_from_rank0(write)
        self.folder = target

    def write_into(self, folder: Path) -> None:
        """Write all files into a folder that is this set's own already; each appears whole or not at all."""
        (folder / files.CARD_FILE).unlink(missing_ok=True)  # it marks a folder whose other files are all written
        files.save_tensors(folder, self.images, self.labels, self.class_names, self.steps, soft_labels=self.soft_labels)
        files.save_preprocessing(folder, self.preprocessing)
        if self.best is not None:
            best = self.best
            files.save_tensors(folder, best.images, best.labels, best.class_names, best.steps, which="best")
        files.save_config(folder, settings=self.settings, dataset=self.dataset, record=self.record)
        files.save_history(folder, self.history)
        save_images(folder / "images", self.pixels(), self.labels.tolist(), self.class_names)
        save_picture(folder / GRID_FILE, grid(fit_contrast(self.preprocessing.invert(self.images)), self.per_class))
        save_scores(folder, self.scores)
        write_text(folder / files.CARD_FILE, card(self))
        self.folder = folder

    def add_score(self, score: Score) -> None:
        """Keep a score with the set; where it is stored, also in `scores.json` and on the card."""
        self.scores = current_ranks().broadcast_from_rank0(lambda: self._scores_with(score))

    def _scores_with(self, score: Score) -> list[Score]:
        if self.folder is None:
            return [*self.scores, score]
        stored = load_scores(self.folder)  # another process may have added some
        again = [old for old in stored if old.model_copy(update={"seconds": score.seconds}) == score]
        self.scores = [*(old for old in stored if old not in again), score]
        save_scores(self.folder, self.scores)
        # The card is that of the last images, whichever were scored.
        shown = self if self.which == "last" else DistilledDataset.load(self.folder)
        write_text(self.folder / files.CARD_FILE, card(shown))
        return self.scores

    @classmethod
    def load(cls, folder: str | Path, which: Which = "last") -> DistilledDataset:
        """Read a run folder.

        Args:
            folder: written by `save` or by a run.
            which: the last images, or the best on held-out training images.

        Raises:
            ArtifactError: there is no finished run, a file is missing or damaged, or there is no best set.
        """
        source = Path(folder)
        config = files.load_config(source)
        preprocessing = files.load_preprocessing(source)
        stored = files.load_tensors(source, which)
        classes = len(stored.class_names)
        if len(stored.labels) and not 0 <= int(stored.labels.min()) <= int(stored.labels.max()) < classes:
            raise ArtifactError(f"{source} has a label outside its {classes} classes")
        return cls(
            images=stored.images,
            labels=stored.labels,
            class_names=stored.class_names,
            preprocessing=preprocessing,
            settings=config["settings"],
            dataset=config["dataset"],
            record=config["record"],
            history=files.load_history(source),
            scores=load_scores(source),
            steps=stored.steps,
            which=which,
            folder=source,
            soft_labels=stored.soft_labels,
        )

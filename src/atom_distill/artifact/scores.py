"""Scores of evaluations, with all that decides which scores are comparable."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, computed_field

from atom_distill.base.files import read_json_as, write_json
from atom_distill.base.folder_lock import one_at_a_time
from atom_distill.config.training_protocol import TrainingProtocol

SCORES_FILE = "scores.json"
_LOCK = ".scores.lock"

Subject = Literal["distilled", "random", "whole"]


class Runs(BaseModel):
    """One number for each of several networks, with their mean and standard deviation.

    Attributes:
        runs: one number per network, percent or percentage points.
    """

    model_config = ConfigDict(frozen=True)

    runs: Annotated[tuple[float, ...], Field(min_length=1)]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean(self) -> float:
        """Mean over the networks."""
        return statistics.fmean(self.runs)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def std(self) -> float:
        """Standard deviation over the networks (n - 1), percentage points; 0 for one network."""
        return statistics.stdev(self.runs) if len(self.runs) > 1 else 0.0

    @property
    def summary(self) -> str:
        """Mean and standard deviation as text; a single network has no deviation."""
        return f"{self.mean:.1f} +- {self.std:.1f}" if len(self.runs) > 1 else f"{self.mean:.1f}"


class Score(Runs):
    """Test accuracy of networks trained from scratch on a set.

    Attributes:
        subject: what the networks were trained on: a distilled set, random subsets, or the whole set.
        labels: class numbers, or the soft labels of a distilled set.
        which: for a distilled set, the last images or the best on held-out training images.
        dataset: the data set whose test split was scored.
        preprocess: the transform between pixels and networks.
        form: for random images, the form of a distilled set in which they were stored; None if unchanged.
        steps: for a distilled set, the number of steps when it was taken.
        first: for a distilled set, how many stored images of each class were used; None for all.
        images: number of images trained on.
        ipc: images per class; None where the classes differ.
        arch: architecture.
        shape: depth, width, norm, activation and pooling as requested; None is the architecture's own.
        protocol: how the networks were trained.
        precision: precision of convolutions and matrix products.
        seed: seed of the evaluation.
        runs: test accuracy of each network after its last epoch, percent.
        seconds: wall-clock time in which at least one network was training or tested.
    """

    subject: Subject
    labels: Literal["hard", "soft"] = "hard"
    which: Literal["last", "best"] = "last"
    dataset: str
    preprocess: str
    form: str | None = None
    steps: int | None = None
    first: int | None = None
    images: int
    ipc: int | None
    arch: str
    shape: dict[str, Any]
    protocol: TrainingProtocol
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int
    seconds: float

    @property
    def network(self) -> str:
        """The architecture with its departures from the default, e.g. "convnet (width 32)"."""
        changes = [f"{name} {value}" for name, value in self.shape.items() if value is not None]
        return f"{self.arch} ({', '.join(changes)})" if changes else self.arch

    def settings(self) -> dict[str, Any]:
        """Return all but what was found: scores of the same settings differ in the number of networks only."""
        return self.model_dump(exclude={"runs", "seconds", "mean", "std"})

    def includes(self, other: Score) -> bool:
        """Return whether another score is of the first networks of this one, or of all of them."""
        return other.settings() == self.settings() and other.runs == self.runs[: len(other.runs)]

    def of_first(self, count: int) -> Score:
        """Return the score of the first networks, with their part of the seconds."""
        part = {"runs": self.runs[:count], "seconds": self.seconds * count / len(self.runs)}
        return self if count == len(self.runs) else self.model_copy(update=part)

    def __str__(self) -> str:
        return f"{self.summary} % (n={len(self.runs)}, {self.network}, protocol {self.protocol.name})"


def with_score(scores: Sequence[Score], new: Score) -> list[Score]:
    """Return the scores with a new one in the place of the first that it includes, or else at the end.

    A score that includes the new one says more, and stays as it is: `Score.of_first` returns the new one from it.
    """
    if any(old.includes(new) and len(old.runs) > len(new.runs) for old in scores):
        return list(scores)
    places = [place for place, old in enumerate(scores) if new.includes(old)]
    others = [old for place, old in enumerate(scores) if place not in places]
    place = places[0] if places else len(others)
    return [*others[:place], new, *others[place:]]


_SCORES = TypeAdapter(list[Score])


def load_scores(folder: Path) -> list[Score]:
    """Return the scores of a run folder; empty if there are none yet.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = folder / SCORES_FILE
    return read_json_as(_SCORES, path, advice="evaluate again") if path.exists() else []


def changing_scores(folder: Path) -> AbstractContextManager[None]:
    """Return a context in which no other process changes the scores of a run folder.

    The lock on the folder itself is held for as long as a run goes on.
    """
    return one_at_a_time(folder / _LOCK)


def save_scores(folder: Path, scores: list[Score]) -> None:
    """Write the scores of a run folder, atomically."""
    write_json(folder / SCORES_FILE, _SCORES.dump_python(scores, mode="json"))

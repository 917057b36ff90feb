"""DD-Ranking of a distilled set: the accuracies that it needs, its scores, and the file that holds both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter, computed_field

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Runs, Score, Subject, changing_scores
from atom_distill.base.errors import ConfigError
from atom_distill.base.files import read_json_as, write_json
from atom_distill.base.progress import note
from atom_distill.base.writable import noting_failure
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.original import has_same_images
from atom_distill.evaluation.ddranking import (
    WEIGHT,
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
)
from atom_distill.evaluation.evaluate import Evaluation

RANKINGS_FILE = "ddranking.json"


class Reference(Runs):
    """Test accuracies, percent, that a ranking was computed from.

    Attributes:
        protocol: name of the training protocol; None for a number that the user gave.
        precision: of their convolutions; None likewise.
    """

    protocol: str | None = None
    precision: Literal["float32", "bfloat16"] | None = None


class References(BaseModel):
    """All accuracies of a ranking; `plain` is training without augmentation, `random` is real images, as many."""

    model_config = ConfigDict(frozen=True)

    distilled: Reference
    random: Reference
    distilled_plain: Reference
    random_plain: Reference
    whole: Reference


class Ranking(BaseModel):
    """DD-Ranking's scores of a distilled set with hard labels, computed network by network and then averaged.

    Network i on the distilled set is compared with network i on random images and on the whole set, as DD-Ranking's
    evaluation rounds are; `evaluation.ddranking` has the formulas.

    Attributes:
        dataset: whose test split was scored.
        preprocess: what stood between pixels and networks.
        which: the last images, or the best on held-out training images.
        steps: the steps after which they were taken.
        ipc: images per class, of the distilled set and of the random ones; None where the classes differ.
        form: parameterization and precision of both; None where both are images as they are.
        arch: architecture.
        shape: departures from its defaults, as asked for; None is the architecture's own.
        seed: of the evaluations.
        lrs_weight: lambda of LRS.
        ars_weight: gamma of ARS.
        references: the accuracies.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    preprocess: str
    which: Literal["last", "best"]
    steps: int
    ipc: int | None
    form: str | None = None
    arch: str
    shape: dict[str, Any]
    seed: int
    lrs_weight: float = WEIGHT
    ars_weight: float = WEIGHT
    references: References

    @computed_field  # type: ignore[prop-decorator]
    @property
    def hlr(self) -> Runs:
        """Hard label recovery, percentage points."""
        return _runs(hard_label_recovery(of.whole, of.distilled) for of in self._rounds())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ior(self) -> Runs:
        """Improvement over random, percentage points."""
        return _runs(improvement_over_random(of.distilled, of.random) for of in self._rounds())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def lrs(self) -> Runs:
        """Label-robust score, percent."""
        return _runs(label_robust_score(of.whole, of.distilled, of.random, self.lrs_weight) for of in self._rounds())

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ars(self) -> Runs:
        """Augmentation-robust score, percent."""
        return _runs(
            augmentation_robust_score(of.distilled, of.random, of.distilled_plain, of.random_plain, self.ars_weight)
            for of in self._rounds()
        )

    def _rounds(self) -> Iterator[_Round]:
        of = self.references
        # A number that the user gave stands for every network.
        whole = of.whole.runs * len(of.distilled.runs) if of.whole.protocol is None else of.whole.runs
        rows = (of.distilled.runs, of.random.runs, of.distilled_plain.runs, of.random_plain.runs, whole)
        return (_Round(*row) for row in zip(*rows, strict=True))


class _Round(NamedTuple):
    """Accuracies of one network of each kind, percent."""

    distilled: float
    random: float
    distilled_plain: float
    random_plain: float
    whole: float


def _runs(values: Iterable[float]) -> Runs:
    return Runs(runs=tuple(values))


@dataclass(frozen=True)
class RankingPlan:
    """How the accuracies of a ranking are obtained.

    Attributes:
        augmented: the evaluation under the protocol.
        plain: the same without augmentation.
        whole: how networks on the whole set are trained, or their accuracy (percent).

    Raises:
        ConfigError: `augmented` does not augment, or the accuracy is no percentage.
    """

    augmented: Evaluation
    plain: Evaluation
    whole: Evaluation | float

    def __post_init__(self) -> None:
        protocol = self.augmented.protocol
        if not (protocol.augmentations() or protocol.cutmix):
            raise ConfigError(
                f"DD-Ranking compares training with and without augmentation, and protocol "
                f"{protocol.name} has none: leave out `augment` none"
            )
        if not isinstance(self.whole, Evaluation) and not 1 < self.whole <= 100:
            raise ConfigError(
                f"the accuracy on the whole set must be a percentage, above 1 and at most 100, got {self.whole:g}"
            )

    def rank(self, distilled: DistilledDataset, dataset: ImageDataset) -> Ranking:
        """Return the scores, from accuracies that are known or measured now.

        Accuracies that the set's scores hold already are taken from there; those trained now are added to them.

        Raises:
            ShapeError, ConfigError: the two sets do not belong together.
        """
        if distilled.soft_labels is not None:
            note("the set has soft labels; these scores are of its images with hard ones")

        def reference(subject: Subject, evaluation: Evaluation) -> Reference:
            score = _stored_or_trained(subject, evaluation, distilled, dataset)
            return Reference(runs=score.runs, protocol=score.protocol.name, precision=score.precision)

        references = References(
            distilled=reference("distilled", self.augmented),
            random=reference("random", self.augmented),
            distilled_plain=reference("distilled", self.plain),
            random_plain=reference("random", self.plain),
            whole=reference("whole", self.whole)
            if isinstance(self.whole, Evaluation)
            else Reference(runs=(self.whole,)),
        )
        return Ranking(
            dataset=dataset.name,
            preprocess=distilled.preprocessing.kind,
            which=distilled.which,
            steps=distilled.steps,
            ipc=distilled.ipc,
            form=distilled.form,
            arch=self.augmented.arch,
            shape=asdict(self.augmented.shape),
            seed=self.augmented.seed,
            references=references,
        )


def _stored_or_trained(
    subject: Subject, evaluation: Evaluation, distilled: DistilledDataset, dataset: ImageDataset
) -> Score:
    # A score does not say which version of the data it is of: where that changed, nothing stored counts.
    for score in distilled.scores if has_same_images(dataset, distilled.dataset) else ():
        known = evaluation.known_from(score)
        if known is not None and _is_score_of(score, subject, distilled, dataset):
            note(f"{subject} set, protocol {evaluation.protocol.name}: scored before, not trained again")
            return known
    note(f"{subject} set, protocol {evaluation.protocol.name}: {evaluation.repeats} networks")
    if subject == "distilled":
        score = evaluation.of_distilled(replace(distilled, soft_labels=None), dataset)
    elif subject == "random":
        score = evaluation.of_random_like(distilled, dataset)
    else:
        score = evaluation.of_whole(dataset, distilled.preprocessing.kind)
    distilled.scores = evaluation.ranks.broadcast_from_rank0(lambda: distilled.add_score(score))
    return score


def _is_score_of(score: Score, subject: Subject, distilled: DistilledDataset, dataset: ImageDataset) -> bool:
    """Return whether a score is of these images, or of real ones that a ranking compares them with."""
    taken = {"which": distilled.which, "steps": distilled.steps, "first": distilled.first}
    wanted: dict[str, Any] = {
        **(taken if subject == "distilled" else {}),
        "subject": subject,
        "labels": "hard",
        "dataset": dataset.name,
        "preprocess": distilled.preprocessing.kind,
        "form": distilled.form if subject == "random" else None,
        "images": len(dataset.train) if subject == "whole" else len(distilled),
    }
    return all(getattr(score, name) == value for name, value in wanted.items())


_RANKINGS = TypeAdapter(list[Ranking])


def load_rankings(folder: Path) -> list[Ranking]:
    """Read the rankings of a run folder; none yet gives an empty list.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = folder / RANKINGS_FILE
    return read_json_as(_RANKINGS, path, advice="evaluate again") if path.exists() else []


def add_ranking(folder: Path, ranking: Ranking) -> None:
    """Write a ranking into a run folder; one that is there already is not written twice."""
    with changing_scores(folder), noting_failure(folder, "the ranking"):
        others = [kept for kept in load_rankings(folder) if kept != ranking]
        write_json(folder / RANKINGS_FILE, _RANKINGS.dump_python([*others, ranking], mode="json"))

"""Scores of a distilled set, of random subsets and of the whole set, all the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, Subject
from atom_distill.artifact.training_set import TrainingSet
from atom_distill.base.errors import ConfigError, ShapeError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import note
from atom_distill.base.seeding import derive_seed
from atom_distill.base.tensors import sha256
from atom_distill.config.distill import CompileMode
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.original import has_same_images
from atom_distill.data.subset import random_subset
from atom_distill.evaluation.interrupted import place
from atom_distill.evaluation.train_and_test import TrainAndTest
from atom_distill.evaluation.trainings import Runs, Trainings, train_all
from atom_distill.models.build import build_model
from atom_distill.ops.parameterization import Parameterization
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.processes.ranks import Ranks
from atom_distill.training.schedules import SCHEDULES
from atom_distill.training.training_execution import ExecutionOptions, TrainingExecution
from atom_distill.training.training_images import Pixels, StoredTensors, TrainingImages


def at_same_compute(protocol: TrainingProtocol, distilled: DistilledDataset) -> TrainingProtocol:
    """Return the protocol with its epochs divided by the decoded images per stored image of a set.

    More images in the same storage are more updates an epoch; this trains for as many as the stored images would.
    """
    if distilled.images_per_stored <= 1:
        note(f"the set has one picture per stored image: at the same compute, it has all {protocol.epochs} epochs")
        return protocol
    return protocol.same_compute(distilled.images_per_stored)


Scoring = Generator[Trainings, Runs, Score]
"""A score in the making: it yields its trainings, is sent what they have reached, and returns the score."""


def scores_of(scorings: Sequence[Scoring]) -> Iterator[tuple[int, Score]]:
    """Yield the number of each evaluation that has begun and its score, as soon as it is known.

    In one process, the networks of all are spread over the cores together.

    Raises:
        AtomError: what an evaluation raises; the scores before it are known.
    """
    waiting: dict[int, Trainings] = {}
    for number, scoring in enumerate(scorings):
        try:
            waiting[number] = next(scoring)
        except StopIteration as end:  # nothing is left to train
            yield number, end.value
    numbers = [*waiting]
    for index, runs in train_all([*waiting.values()]):
        try:
            scorings[numbers[index]].send(runs)
        except StopIteration as end:
            yield numbers[index], end.value


def _only(scoring: Scoring) -> Score:
    ((_, score),) = scores_of([scoring])
    return score


@dataclass(frozen=True)
class Evaluation:
    """How to score a set, whatever it is.

    Attributes:
        arch: architecture.
        shape: departures from its defaults.
        repeats: number of networks.
        protocol: how each is trained.
        seed: of all random draws.
        device: where they are trained.
        execution: precision, compilation and networks at once, where they are not left to the machine.
        ranks: the processes that share the networks; all of them make the same calls.
        show_progress: draw a bar.
        first: number of the first network, from 0; it decides the draws. Set it to train the networks of one evaluation
            in several. Scores do not record it, so do not keep such a score with a set.
    """

    arch: str = "convnet"
    shape: NetworkShape = field(default_factory=NetworkShape)
    repeats: int = 5
    protocol: TrainingProtocol = field(default_factory=lambda: PROTOCOLS.get("dm"))
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    ranks: Ranks = field(default_factory=Ranks)
    show_progress: bool = True
    first: int = 0

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"`repeats` must be at least 1, got {self.repeats}")
        if self.first < 0:
            raise ConfigError(f"`first` must be at least 0, got {self.first}")
        SCHEDULES.get(self.protocol.schedule)  # an unknown one is refused here, before the first network is trained

    def of_distilled(self, distilled: DistilledDataset, dataset: ImageDataset, *, more: bool = False) -> Score:
        """Return the score that `begin_distilled` makes."""
        return _only(self.begin_distilled(distilled, dataset, more=more))

    def begin_distilled(self, distilled: DistilledDataset, dataset: ImageDataset, *, more: bool = False) -> Scoring:
        """Begin the score of networks trained on a distilled set and tested on the real test split.

        Args:
            distilled: set to train on.
            dataset: real images, of the set's classes and size.
            more: keep the networks of a score that the set has under the same settings, and train those still missing.

        Raises:
            ShapeError, ConfigError: the two do not belong together.
        """
        if distilled.image_shape != dataset.image_shape:
            raise ShapeError(
                f"the distilled images are {distilled.image_shape} and those of {dataset.name} "
                f"{dataset.image_shape}; evaluate on the data set it was distilled from"
            )
        if distilled.class_names != dataset.class_names:
            raise ConfigError(
                f"the distilled set has classes {', '.join(distilled.class_names[:5])}..., and {dataset.name} has "
                f"{', '.join(dataset.class_names[:5])}...; evaluate on the data set it was distilled from"
            )
        known = self._known(distilled, dataset) if more else None
        if known is None:
            return (yield from self._begin_distilled(distilled, dataset))
        done = len(known.runs)
        networks = "network was" if done == 1 else "networks were"
        note(f"{done} {self.arch} {networks} scored before, of {self.repeats} asked for: kept")
        if done >= self.repeats:
            return known
        missing = yield from self._rest(done, known.images, dataset)._begin_distilled(distilled, dataset)
        facts = {"runs": known.runs + missing.runs, "seconds": known.seconds + missing.seconds}
        return known.model_copy(update=facts)

    def _begin_distilled(self, distilled: DistilledDataset, dataset: ImageDataset) -> Scoring:
        identity = _identity(distilled)
        score = yield from self._begin_set(distilled.training_set(), distilled.preprocessing, dataset, identity)
        return score.model_copy(update=_facts(distilled))

    def _rest(self, done: int, images: int, dataset: ImageDataset) -> Evaluation:
        """Return the evaluation of the networks after some, computed as all would be: a few may not pay to compile."""
        plan = self._plan(images, dataset)
        compiled: CompileMode = "on" if plan.compiled else "off"
        execution = replace(self.execution, precision=_precision(plan.dtype), compile=compiled)
        return replace(self, first=done, repeats=self.repeats - done, execution=execution)

    def _known(self, distilled: DistilledDataset, dataset: ImageDataset) -> Score | None:
        """Return the set's score of most networks that this evaluation would train, too; None if there is none."""
        # A score does not say which version of the data it is of: where that changed, no score counts.
        if self.first or not has_same_images(dataset, distilled.dataset):
            return None
        images = distilled.training_set()
        runs = Runs({0: 0.0}, 0.0, self._plan(len(images.images), dataset).dtype)
        score = self._score("distilled", dataset, distilled.preprocessing, runs)
        wanted = score.model_copy(update={**_facts(distilled), "images": len(images.images)})
        return max(
            (score for score in distilled.scores if score.settings() == wanted.settings()),
            key=lambda score: len(score.runs),
            default=None,
        )

    def of_images(self, images: TrainingSet, preprocessing: Preprocessing, dataset: ImageDataset) -> Score:
        """Return the score of networks trained on images in model space and tested on the real test split."""
        identity = [sha256(images.images, images.targets)]
        return _only(self._begin_set(images, preprocessing, dataset, identity))

    def _begin_set(
        self, images: TrainingSet, preprocessing: Preprocessing, dataset: ImageDataset, identity: Sequence[object]
    ) -> Scoring:
        stored = StoredTensors(images.images, images.targets, self.device)
        runs = yield self._trainings(lambda _: stored, dataset, preprocessing, identity, shared=True)
        return self._score("distilled", dataset, preprocessing, runs).model_copy(update={"images": len(stored)})

    def of_random(
        self,
        dataset: ImageDataset,
        per_class: int | Tensor,
        preprocess: str,
        parameterization: Parameterization | None = None,
    ) -> Score:
        """Return the score that `begin_random` makes."""
        return _only(self.begin_random(dataset, per_class, preprocess, parameterization))

    def begin_random(
        self,
        dataset: ImageDataset,
        per_class: int | Tensor,
        preprocess: str,
        parameterization: Parameterization | None = None,
    ) -> Scoring:
        """Begin the score of networks trained on random real images, each on a subset of its own.

        Args:
            dataset: real images.
            per_class: images of each class; one number for all, or int64 [K].
            preprocess: kind of preprocessing.
            parameterization: encodes and decodes the images first, as those of a distilled set are; None: as they are.

        Raises:
            ConfigError: a class has fewer images, or none is wanted of one.
        """
        counts = torch.as_tensor(per_class).expand(dataset.num_classes)
        if int(counts.min()) < 1:
            raise ConfigError(f"`ipc` must be at least 1, got {int(counts.min())}")
        preprocessing = self.ranks.broadcast_from_rank0(lambda: fit_preprocessing(preprocess, dataset))

        @lru_cache(maxsize=1)  # the first is asked for several times: what it is, how large it is, to train on it
        def subset(repeat: int) -> tuple[Tensor, Tensor]:
            indices = random_subset(dataset, counts, derive_seed(self.seed, "random subset", repeat))
            images = preprocessing.apply(dataset.train.images[indices])
            if parameterization is not None:
                images = parameterization.decode(parameterization.encode(images))
            return images, dataset.train.labels[indices]

        def stored(repeat: int) -> TrainingImages:
            return StoredTensors(*subset(repeat), self.device)

        identity = ["random", sha256(*subset(self.first))]
        runs = yield self._trainings(stored, dataset, preprocessing, identity, shared=False)
        score = self._score("random", dataset, preprocessing, runs)
        ipc = int(counts[0]) if bool((counts == counts[0]).all()) else None
        return score.model_copy(update={"images": int(counts.sum()), "ipc": ipc})

    def of_random_like(self, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        """Return the score that `begin_random_like` makes."""
        return _only(self.begin_random_like(distilled, dataset))

    def begin_random_like(self, distilled: DistilledDataset, dataset: ImageDataset) -> Scoring:
        """Begin the score of as many random real images as a set has, in the same form, rounded by the same steps.

        The steps were fitted to the images of the set. Real images may be packed to another size with them: the method
        `random` fits steps to what it chooses, and keeps a size in bytes.
        """
        parameterization = None if distilled.form is None else distilled.parameterization
        kind = distilled.preprocessing.kind
        score = yield from self.begin_random(dataset, distilled.per_class, kind, parameterization)
        return score.model_copy(update={"form": distilled.form})

    def of_whole(self, dataset: ImageDataset, preprocess: str) -> Score:
        """Return the score that `begin_whole` makes."""
        return _only(self.begin_whole(dataset, preprocess))

    def begin_whole(self, dataset: ImageDataset, preprocess: str) -> Scoring:
        """Begin the score of networks trained on every training image."""
        preprocessing = self.ranks.broadcast_from_rank0(lambda: fit_preprocessing(preprocess, dataset))
        whole = Pixels(dataset.train, preprocessing, self.device)
        runs = yield self._trainings(lambda _: whole, dataset, preprocessing, ["whole"], shared=True)
        return self._score("whole", dataset, preprocessing, runs)

    def known_from(self, score: Score) -> Score | None:
        """Return what this evaluation would find, up to rounding, from a score of the same images and as many networks.

        None if the score is of another evaluation, or of fewer networks.
        """
        asked = (self.arch, asdict(self.shape), self.protocol, self.seed)
        done = (score.arch, score.shape, score.protocol, score.seed)
        is_of_this = asked == done and self.first == 0 and self.execution.precision in ("auto", score.precision)
        return score.of_first(self.repeats) if is_of_this and len(score.runs) >= self.repeats else None

    def _trainings(
        self,
        images_of: Callable[[int], TrainingImages],
        dataset: ImageDataset,
        preprocessing: Preprocessing,
        identity: Sequence[object],
        *,
        shared: bool,
    ) -> Trainings:
        """Return the trainings of `repeats` networks.

        Args:
            images_of: from the number of a network to what it is trained on.
            dataset: whose test split they are tested on.
            preprocessing: of its images.
            identity: of what the first network is trained on; data set and seed decide the rest.
            shared: whether all networks are trained on the same images.
        """
        first = images_of(self.first)
        execution = self._plan(len(first), dataset)
        job = TrainAndTest(
            protocol=self.protocol,
            seed=self.seed,
            execution=execution,
            network=build_model(self.arch, dataset.image_shape, dataset.num_classes, self.shape),
            test=Pixels(dataset.test, preprocessing, self.device, execution.dtype),
            folder=place(dataset.fingerprint, self._identity(preprocessing, execution), identity),
            began=time.time(),
            shared=first if shared else None,
        )
        numbers = range(self.first, self.first + self.repeats)
        return Trainings(self.arch, job, numbers, None if shared else images_of, self.ranks, self.show_progress)

    def _identity(self, preprocessing: Preprocessing, execution: TrainingExecution) -> list[object]:
        """Return all of this evaluation that decides what a network becomes, besides its images."""
        protocol = self.protocol.model_dump(mode="json")
        return [self.arch, asdict(self.shape), protocol, self.seed, str(execution.dtype), preprocessing.kind]

    def _plan(self, images: int, dataset: ImageDataset) -> TrainingExecution:
        _, height, width = dataset.image_shape
        pixels = float(self.repeats * self.protocol.epochs * images * height * width)
        return self.execution.plan(self.device, pixels=pixels, repeats=self.repeats, cores=self.ranks.cores)

    def _score(self, subject: Subject, dataset: ImageDataset, preprocessing: Preprocessing, runs: Runs) -> Score:
        return Score(
            subject=subject,
            dataset=dataset.name,
            preprocess=preprocessing.kind,
            images=len(dataset.train),
            ipc=None,
            arch=self.arch,
            shape=asdict(self.shape),
            protocol=self.protocol,
            precision=_precision(runs.dtype),
            seed=self.seed,
            runs=runs.in_order,
            seconds=runs.seconds,
        )


def _precision(dtype: torch.dtype) -> Literal["float32", "bfloat16"]:
    return "bfloat16" if dtype == torch.bfloat16 else "float32"


def _facts(distilled: DistilledDataset) -> dict[str, object]:
    """Return what a score says of the set that was scored."""
    labels = "hard" if distilled.soft_labels is None else "soft"
    taken = {"ipc": distilled.ipc, "which": distilled.which, "steps": distilled.steps, "first": distilled.first}
    return {**taken, "labels": labels}


def _identity(distilled: DistilledDataset) -> list[object]:
    """Return what a set is known by: what is stored, which is the same on machines that decode it differently."""
    stored = {**distilled.stored, "labels": distilled.row_labels, **distilled.parameterization.tensors()}
    stored |= {f"preprocessing.{name}": values for name, values in distilled.preprocessing.tensors().items()}
    if distilled.soft_labels is not None:
        stored["soft labels"] = distilled.soft_labels
    of_each = {name: [str(values.dtype), list(values.shape), sha256(values)] for name, values in stored.items()}
    return [type(distilled.parameterization).__name__, distilled.form, of_each]

"""Scores of a distilled set, of random subsets and of the whole set, all the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, Subject
from atom_distill.artifact.training_set import TrainingSet
from atom_distill.base.errors import ConfigError, ShapeError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import Progress, note
from atom_distill.base.seeding import derive_seed
from atom_distill.base.tensors import sha256
from atom_distill.config.distill import CompileMode
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.original import has_same_images
from atom_distill.data.subset import random_subset
from atom_distill.evaluation.interrupted import forget, place
from atom_distill.evaluation.train_and_test import Task, TrainAndTest, file_of, in_groups
from atom_distill.models.build import build_model
from atom_distill.ops.parameterization import Parameterization
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.processes.ranks import Ranks
from atom_distill.processes.workers import run_tasks
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


@dataclass(frozen=True)
class Evaluation:
    """How to score a set, whatever it is.

    Attributes:
        arch: architecture.
        shape: departures from its defaults.
        repeats: number of networks.
        first: number of the first, from 0. Its number decides a network's random draws: evaluations of some networks
            each, in several processes, find together what one evaluation of all of them finds.
        protocol: how each is trained.
        seed: of all random draws.
        device: where they are trained.
        execution: precision, compilation and networks at once, where they are not left to the machine.
        kept: takes the files of finished networks, for a caller who removes them with `forget` once all of several
            evaluations are finished; None removes them with this one.
        ranks: the processes that share the networks; all of them make the same calls.
        show_progress: draw a bar.
    """

    arch: str = "convnet"
    shape: NetworkShape = field(default_factory=NetworkShape)
    repeats: int = 5
    first: int = 0
    protocol: TrainingProtocol = field(default_factory=lambda: PROTOCOLS.get("dm"))
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    kept: list[Path] | None = None
    ranks: Ranks = field(default_factory=Ranks)
    show_progress: bool = True

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"repeats must be at least 1, got {self.repeats}")
        if self.first < 0:
            raise ConfigError(f"first must be at least 0, got {self.first}")
        SCHEDULES.get(self.protocol.schedule)  # an unknown one is refused here, before the first network is trained

    def of_distilled(self, distilled: DistilledDataset, dataset: ImageDataset, *, more: bool = False) -> Score:
        """Return the score of networks trained on a distilled set and tested on the real test split.

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
            return self._of_distilled(distilled, dataset)
        done = len(known.runs)
        note(f"{done} network{' was' if done == 1 else 's were'} scored before, of {self.repeats} asked for: kept")
        if done >= self.repeats:
            return known
        missing = self._rest(done, known.images, dataset)._of_distilled(distilled, dataset)
        facts = {"runs": known.runs + missing.runs, "seconds": known.seconds + missing.seconds}
        return known.model_copy(update=facts)

    def _of_distilled(self, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        score = self._of_set(distilled.training_set(), distilled.preprocessing, dataset, _identity(distilled))
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
        runs = _Runs((0.0,), 0.0, self._plan(len(images.images), dataset).dtype)
        score = self._score("distilled", dataset, distilled.preprocessing, runs)
        wanted = score.model_copy(update={**_facts(distilled), "images": len(images.images)})
        return max(
            (score for score in distilled.scores if score.settings() == wanted.settings()),
            key=lambda score: len(score.runs),
            default=None,
        )

    def of_images(self, images: TrainingSet, preprocessing: Preprocessing, dataset: ImageDataset) -> Score:
        """Return the score of networks trained on images in model space and tested on the real test split."""
        return self._of_set(images, preprocessing, dataset, [sha256(images.images, images.targets)])

    def _of_set(
        self, images: TrainingSet, preprocessing: Preprocessing, dataset: ImageDataset, identity: Sequence[object]
    ) -> Score:
        stored = StoredTensors(images.images, images.targets, self.device)
        runs = self._runs(lambda _: stored, dataset, preprocessing, identity, shared=True)
        return self._score("distilled", dataset, preprocessing, runs).model_copy(update={"images": len(stored)})

    def of_random(
        self,
        dataset: ImageDataset,
        per_class: int | Tensor,
        preprocess: str,
        parameterization: Parameterization | None = None,
    ) -> Score:
        """Return the score of networks trained on random real images, each on a subset of its own.

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
            raise ConfigError(f"ipc must be at least 1, got {int(counts.min())}")
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
        runs = self._runs(stored, dataset, preprocessing, identity, shared=False)
        score = self._score("random", dataset, preprocessing, runs)
        ipc = int(counts[0]) if bool((counts == counts[0]).all()) else None
        return score.model_copy(update={"images": int(counts.sum()), "ipc": ipc})

    def of_random_like(self, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        """Return the score of as many random real images as a set has, in the same form, rounded by the same steps.

        The steps were fitted to the images of the set. Real images may be packed to another size with them: the method
        `random` fits steps to what it chooses, and keeps a size in bytes.
        """
        parameterization = None if distilled.form is None else distilled.parameterization
        kind = distilled.preprocessing.kind
        score = self.of_random(dataset, distilled.per_class, kind, parameterization)
        return score.model_copy(update={"form": distilled.form})

    def of_whole(self, dataset: ImageDataset, preprocess: str) -> Score:
        """Return the score of networks trained on every training image."""
        preprocessing = self.ranks.broadcast_from_rank0(lambda: fit_preprocessing(preprocess, dataset))
        whole = Pixels(dataset.train, preprocessing, self.device)
        runs = self._runs(lambda _: whole, dataset, preprocessing, ["whole"], shared=True)
        return self._score("whole", dataset, preprocessing, runs)

    def would_repeat(self, score: Score) -> bool:
        """Return whether a score of the same images is what this evaluation would find, up to rounding."""
        asked = (self.arch, asdict(self.shape), self.repeats, self.protocol, self.seed)
        done = (score.arch, score.shape, len(score.runs), score.protocol, score.seed)
        return asked == done and self.first == 0 and self.execution.precision in ("auto", score.precision)

    def _runs(
        self,
        images_of: Callable[[int], TrainingImages],
        dataset: ImageDataset,
        preprocessing: Preprocessing,
        identity: Sequence[object],
        *,
        shared: bool,
    ) -> _Runs:
        """Train and test `repeats` networks; several processes take turns in them.

        Args:
            images_of: from the number of a network to what it is trained on.
            dataset: whose test split they are tested on.
            preprocessing: of its images.
            identity: of what the first network is trained on; data set and seed decide the rest.
            shared: whether all networks are trained on the same images.
        """
        numbers = range(self.first, self.first + self.repeats)
        mine = numbers[self.ranks.rank :: self.ranks.size]
        first = images_of(self.first)
        execution = self._plan(len(first), dataset)
        groups = list(in_groups(mine, execution.at_once))
        network = build_model(self.arch, dataset.image_shape, dataset.num_classes, self.shape)
        test = Pixels(dataset.test, preprocessing, self.device, execution.dtype)
        folder = place(dataset.fingerprint, self._identity(preprocessing, execution), identity)
        files = [folder / file_of(group) for group in groups]
        begun = sum(path.exists() for path in files)
        if begun:
            note(f"continuing an interrupted evaluation: {begun} of {len(files)} trainings were finished or begun")
        job = TrainAndTest(
            self.protocol, self.seed, execution, network, test, folder, time.time(), first if shared else None
        )
        tasks = (Task(group, [] if shared else [images_of(number) for number in group]) for group in groups)
        started = time.perf_counter()
        found: dict[int, float] = {}
        earlier = 0.0
        total = len(mine) * self.protocol.epochs
        bar = Progress(f"evaluate ({self.arch})", total=total, unit="epochs", enabled=self.show_progress)
        going: set[int] = set()

        def on_epochs(number: int, finished: int) -> None:
            going.add(number)
            bar.advance(finished * len(groups[number]), **self._position([groups[one] for one in sorted(going)], found))

        def train_mine() -> None:
            nonlocal earlier
            with closing(run_tasks(job, tasks, len(groups), cores=execution.cores, on_report=on_epochs)) as running:
                for number, tested in running:
                    going.discard(number)
                    found.update(zip(groups[number], tested.accuracies, strict=True))
                    earlier += tested.seconds / min(execution.cores, len(groups))

        with bar:
            self.ranks.run_on_all(train_mine)
        everything = {repeat: accuracy for part in self.ranks.gather(found) for repeat, accuracy in part.items()}
        in_order = tuple(everything[repeat] for repeat in numbers)
        if self.kept is None:
            forget(files)
        else:
            self.kept.extend(files)
        return _Runs(in_order, earlier + time.perf_counter() - started, execution.dtype)

    def _identity(self, preprocessing: Preprocessing, execution: TrainingExecution) -> list[object]:
        """Return all of this evaluation that decides what a network becomes, besides its images."""
        protocol = self.protocol.model_dump(mode="json")
        return [self.arch, asdict(self.shape), protocol, self.seed, str(execution.dtype), preprocessing.kind]

    def _position(self, going: Sequence[range], found: dict[int, float]) -> dict[str, str]:
        """Return what the bar shows: which networks are training, and the accuracy of the last one."""
        last = f"{list(found.values())[-1]:.1f} %" if found else "-"
        return {"network": f"{', '.join(map(_numbers, going))}/{self.first + self.repeats}", "last": last}

    def _plan(self, images: int, dataset: ImageDataset) -> TrainingExecution:
        _, height, width = dataset.image_shape
        pixels = float(self.repeats * self.protocol.epochs * images * height * width)
        return self.execution.plan(self.device, pixels=pixels, repeats=self.repeats, cores=self.ranks.cores)

    def _score(self, subject: Subject, dataset: ImageDataset, preprocessing: Preprocessing, runs: _Runs) -> Score:
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
            runs=runs.accuracies,
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


@dataclass(frozen=True)
class _Runs:
    """Accuracies of all networks in percent, the seconds they took, and the precision they were trained in."""

    accuracies: tuple[float, ...]
    seconds: float
    dtype: torch.dtype


def _numbers(repeats: range) -> str:
    """Return the numbers of networks as the bar shows them."""
    every = f" by {repeats.step}" if repeats.step > 1 else ""
    return f"{repeats[0] + 1}" if len(repeats) == 1 else f"{repeats[0] + 1}-{repeats[-1] + 1}{every}"

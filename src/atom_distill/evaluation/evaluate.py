"""Scores of a distilled set, of random subsets and of the whole set, all the same way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, Subject
from atom_distill.base.errors import ConfigError, ShapeError
from atom_distill.base.progress import Progress
from atom_distill.base.seeding import derive_seed
from atom_distill.config.protocol import PROTOCOLS, Protocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.preprocessing import fit_preprocessing
from atom_distill.data.subset import random_subset
from atom_distill.evaluation.sources import Pixels, StoredTensors, TrainingImages
from atom_distill.evaluation.training import accuracy, train
from atom_distill.models.registry import NetworkShape, build_model
from atom_distill.ops.preprocessing import Preprocessing


@dataclass(frozen=True)
class Evaluation:
    """How to score a set, whatever it is.

    Attributes:
        arch: architecture.
        shape: departures from its defaults.
        repeats: networks.
        protocol: how each is trained.
        seed: of everything random.
        device: where.
        show_progress: draw a bar.
    """

    arch: str = "convnet"
    shape: NetworkShape = field(default_factory=NetworkShape)
    repeats: int = 5
    protocol: Protocol = field(default_factory=lambda: PROTOCOLS.get("dm"))
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    show_progress: bool = True

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"repeats must be at least 1, got {self.repeats}")

    def of_distilled(self, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        """Train on a distilled set and test on the real test split.

        Raises:
            ShapeError: the two do not belong together.
        """
        if distilled.images.shape[1:] != dataset.train.images.shape[1:]:
            raise ShapeError(
                f"the distilled images are {tuple(distilled.images.shape[1:])} and those of {dataset.name} "
                f"{dataset.image_shape}; evaluate on the data set it was distilled from"
            )
        if distilled.class_names != dataset.class_names:
            raise ConfigError(
                f"the distilled set has classes {', '.join(distilled.class_names[:5])}..., and {dataset.name} has "
                f"{', '.join(dataset.class_names[:5])}...; evaluate on the data set it was distilled from"
            )
        images = StoredTensors(distilled.images, distilled.labels, self.device)
        runs, seconds = self._runs(lambda _: images, dataset, distilled.preprocessing)
        score = self._score("distilled", dataset, distilled.preprocessing, runs, seconds)
        return score.model_copy(
            update={"images": len(distilled), "ipc": distilled.ipc, "which": distilled.which, "steps": distilled.steps}
        )

    def of_random(self, dataset: ImageDataset, ipc: int, preprocess: str) -> Score:
        """Train each network on a random subset of its own, `ipc` real images a class.

        Raises:
            ConfigError: a class has fewer images, or ipc is not positive.
        """
        if ipc < 1:
            raise ConfigError(f"ipc must be at least 1, got {ipc}")
        preprocessing = fit_preprocessing(preprocess, dataset)

        def subset(repeat: int) -> TrainingImages:
            indices = random_subset(dataset, ipc, derive_seed(self.seed, "random subset", repeat))
            images = preprocessing.apply(dataset.train.images[indices])
            return StoredTensors(images, dataset.train.labels[indices], self.device)

        runs, seconds = self._runs(subset, dataset, preprocessing)
        score = self._score("random", dataset, preprocessing, runs, seconds)
        return score.model_copy(update={"images": ipc * dataset.num_classes, "ipc": ipc})

    def of_whole(self, dataset: ImageDataset, preprocess: str) -> Score:
        """Train on every training image."""
        preprocessing = fit_preprocessing(preprocess, dataset)
        whole = Pixels(dataset.train, preprocessing, self.device)
        runs, seconds = self._runs(lambda _: whole, dataset, preprocessing)
        return self._score("whole", dataset, preprocessing, runs, seconds)

    def _runs(
        self,
        images_of: Callable[[int], TrainingImages],
        dataset: ImageDataset,
        preprocessing: Preprocessing,
    ) -> tuple[list[float], float]:
        """Train and test `repeats` networks; gives their accuracies and the seconds of all."""
        network = build_model(self.arch, dataset.image_shape, dataset.num_classes, self.shape)
        network = network.to(self.device)
        test = Pixels(dataset.test, preprocessing, self.device)
        started = time.perf_counter()
        accuracies: list[float] = []
        total = self.repeats * self.protocol.epochs
        label = f"evaluate ({self.arch})"
        with Progress(label, total=total, unit="epochs", enabled=self.show_progress) as bar:
            for repeat in range(self.repeats):
                done = f"{accuracies[-1]:.1f} %" if accuracies else "-"
                train(
                    network,
                    images_of(repeat),
                    self.protocol,
                    seed=self.seed,
                    repeat=repeat,
                    on_epoch=lambda done=done, repeat=repeat: bar.advance(  # type: ignore[misc]
                        network=f"{repeat + 1}/{self.repeats}", last=done
                    ),
                )
                accuracies.append(accuracy(network, test))
        return accuracies, time.perf_counter() - started

    def _score(
        self,
        subject: Subject,
        dataset: ImageDataset,
        preprocessing: Preprocessing,
        runs: list[float],
        seconds: float,
    ) -> Score:
        return Score(
            subject=subject,
            dataset=dataset.name,
            preprocess=preprocessing.kind,
            images=len(dataset.train),
            ipc=None,
            arch=self.arch,
            shape=asdict(self.shape),
            protocol=self.protocol,
            seed=self.seed,
            runs=tuple(runs),
            seconds=seconds,
        )

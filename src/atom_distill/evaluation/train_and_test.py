"""The job of an evaluation: networks are trained and tested, in this process or in a worker."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.evaluation.interrupted import read
from atom_distill.models.network import Network
from atom_distill.training.networks import Networks, networks_for
from atom_distill.training.train import accuracies, train
from atom_distill.training.training_execution import TrainingExecution
from atom_distill.training.training_images import Pixels, TrainingImages


@dataclass(frozen=True)
class Task:
    """Networks that train together.

    Attributes:
        numbers: of the networks in the evaluation.
        images: what each is trained on; empty where all networks of the evaluation share it.
    """

    numbers: range
    images: Sequence[TrainingImages]


@dataclass(frozen=True)
class Tested:
    """Networks that were trained and tested.

    Attributes:
        accuracies: of each, percent.
        seconds: that earlier, interrupted evaluations trained them.
    """

    accuracies: Sequence[float]
    seconds: float = 0.0


@dataclass(eq=False)
class TrainAndTest:
    """Trains and tests groups of networks.

    Attributes:
        protocol: how they are trained.
        seed: of the evaluation.
        execution: on this machine.
        network: what each is like.
        test: images to test on.
        folder: where networks are kept if the evaluation is interrupted.
        began: when the evaluation began, seconds since the epoch.
        shared: images to train on, where all networks have the same.
    """

    protocol: TrainingProtocol
    seed: int
    execution: TrainingExecution
    network: Network
    test: Pixels
    folder: Path
    began: float
    shared: TrainingImages | None
    _built: dict[int, Networks] = field(default_factory=dict)

    def __call__(self, task: Task, report: Callable[[int], None], _: object) -> Tested:
        """Return the test accuracies of networks, trained from where an interrupted evaluation left them.

        Args:
            task: which networks.
            report: takes how many epochs more are done.
        """
        size = len(task.numbers)
        if size not in self._built:  # only the last group can be of another size
            # Of a copy, which goes to the device and is given up by `release`.
            self._built = {size: networks_for(copy.deepcopy(self.network), self.execution, size)}
        networks = self._built[size]
        kept = read(self.folder / file_of(task.numbers), networks, self.began)
        report(kept.state.epochs)
        if kept.accuracies is None:

            def on_epoch() -> None:
                kept.save_if_due(networks)
                report(1)

            train(
                networks,
                task.images if self.shared is None else [self.shared] * size,
                self.protocol,
                seed=self.seed,
                repeats=task.numbers,
                on_epoch=on_epoch,
                state=kept.state,
            )
            kept.finish(accuracies(networks, self.test))
        assert kept.accuracies is not None
        return Tested(kept.accuracies, kept.seconds)

    def release(self) -> None:
        """Give up the memory of the networks, and of the images on the device."""
        self._built = {}
        if self.shared is not None:
            self.shared.release()


def file_of(numbers: range) -> str:
    """Return the name of the file in which networks that train together are kept."""
    return f"{'-'.join(map(str, numbers))}.safetensors"


def in_groups(numbers: range, at_once: int) -> Iterator[range]:
    """Yield the numbers of networks in groups that train together."""
    for first in range(0, len(numbers), at_once):
        yield numbers[first : first + at_once]

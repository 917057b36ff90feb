"""The job of an evaluation: networks are trained and tested, in this process or in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.evaluation.interrupted import read
from atom_distill.models.network import Network
from atom_distill.training.networks import Networks, networks_for
from atom_distill.training.train import TrainingState, accuracies, train
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
        folder: where a single network is kept if the evaluation is interrupted.
        shared: images to train on, where all networks have the same.
    """

    protocol: TrainingProtocol
    seed: int
    execution: TrainingExecution
    network: Network
    test: Pixels
    folder: Path
    shared: TrainingImages | None
    _built: dict[int, Networks] = field(default_factory=dict)

    def __call__(self, task: Task, report: Callable[[int], None], _: object) -> Tested:
        """Return the test accuracies of networks.

        Args:
            task: which networks.
            report: takes how many epochs more are done.
        """
        if len(task.numbers) not in self._built:  # only the last group can be of another size
            self._built = {len(task.numbers): networks_for(self.network, self.execution, len(task.numbers))}
        (networks,) = self._built.values()
        return self._one(networks, task, report) if len(task.numbers) == 1 else self._several(networks, task, report)

    def _one(self, networks: Networks, task: Task, report: Callable[[int], None]) -> Tested:
        """Train a network from where an interrupted evaluation left it."""
        kept = read(self.folder / f"{task.numbers[0]}.safetensors", self.network)
        report(kept.state.epochs)
        if kept.accuracy is None:

            def on_epoch() -> None:
                kept.save_if_due()
                report(1)

            self._train(networks, task, on_epoch, kept.state)
            kept.finish(accuracies(networks, self.test)[0])
        assert kept.accuracy is not None
        return Tested([kept.accuracy], kept.seconds)

    def _several(self, networks: Networks, task: Task, report: Callable[[int], None]) -> Tested:
        """Train networks together from the beginning: that is for GPUs, where it does not take long."""
        self._train(networks, task, partial(report, 1), TrainingState())
        return Tested(accuracies(networks, self.test))

    def _train(self, networks: Networks, task: Task, on_epoch: Callable[[], None], state: TrainingState) -> None:
        train(
            networks,
            task.images if self.shared is None else [self.shared] * len(task.numbers),
            self.protocol,
            seed=self.seed,
            repeats=task.numbers,
            on_epoch=on_epoch,
            state=state,
        )


def in_groups(numbers: range, at_once: int) -> Iterator[range]:
    """Yield the numbers of networks in groups that train together."""
    for first in range(0, len(numbers), at_once):
        yield numbers[first : first + at_once]

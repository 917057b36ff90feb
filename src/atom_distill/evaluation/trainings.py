"""Train and test the networks of one or more evaluations, which share the processes and the cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from atom_distill.base.errors import NonFiniteError
from atom_distill.base.progress import Progress, note
from atom_distill.evaluation.interrupted import forget
from atom_distill.evaluation.train_and_test import Task, Tested, TrainAndTest, file_of, in_groups
from atom_distill.processes.ranks import Ranks
from atom_distill.processes.workers import run_tasks
from atom_distill.training.training_images import TrainingImages


@dataclass(frozen=True, eq=False)
class Trainings:
    """The networks of an evaluation, which are to be trained and tested.

    Attributes:
        arch: their architecture, for the progress bar.
        job: trains and tests a group of them.
        numbers: of all of them.
        images_of: from the number of a network to what it is trained on; None where the job has images for all.
        ranks: the processes that share the networks.
        show_progress: draw a bar.
    """

    arch: str
    job: TrainAndTest
    numbers: range
    images_of: Callable[[int], TrainingImages] | None
    ranks: Ranks
    show_progress: bool

    @property
    def epochs(self) -> int:
        """Epochs of each network."""
        return self.job.protocol.epochs

    @cached_property
    def groups(self) -> list[range]:
        """The networks of this rank that train together."""
        return list(in_groups(self.numbers[self.ranks.rank :: self.ranks.size], self.job.execution.at_once))

    def file(self, group: range) -> Path:
        """Return where a group is kept if it is interrupted."""
        return self.job.folder / file_of(group)

    def task(self, group: range) -> Task:
        """Return the task of a group."""
        return Task(group, [] if self.images_of is None else [self.images_of(number) for number in group])


@dataclass(frozen=True)
class Runs:
    """What the networks of an evaluation have reached.

    Attributes:
        accuracies: of each by its number, percent.
        seconds: wall-clock time in which at least one of them was training.
        dtype: precision in which they were trained.
    """

    accuracies: Mapping[int, float]
    seconds: float
    dtype: torch.dtype

    @property
    def in_order(self) -> tuple[float, ...]:
        """The accuracies by ascending number."""
        return tuple(accuracy for _, accuracy in sorted(self.accuracies.items()))


def train_all(everything: Sequence[Trainings]) -> Iterator[tuple[int, Runs]]:
    """Yield the place of each evaluation and what its networks have reached, as soon as all of them are finished.

    In one process, its workers take turns in the networks of all evaluations. Several ranks take turns in those of one
    evaluation after the other. A network is the same wherever it is trained. What is kept of finished networks is
    forgotten at the end, once the caller has taken everything.

    Args:
        everything: of evaluations of the same ranks, all of which call this.
    """
    if not everything:
        return
    ranks = everything[0].ranks
    files = [one.file(group) for one in everything for group in one.groups]
    if begun := sum(path.exists() for path in files):
        note(f"continuing an interrupted evaluation: {begun} of {len(files)} trainings were finished or begun")
    if ranks.size == 1:
        yield from _Team(everything).run()
    else:
        for place, one in enumerate(everything):
            yield place, _shared(one)
    forget(files)


def _shared(trainings: Trainings) -> Runs:
    """Return what networks have reached that several ranks share."""
    own = trainings.ranks.run_on_all(lambda: [*_Team([trainings]).run()])
    found = trainings.ranks.gather([runs for _, runs in own])
    of_ranks = [runs for (runs,) in found]
    return Runs(
        {number: accuracy for runs in of_ranks for number, accuracy in runs.accuracies.items()},
        max(runs.seconds for runs in of_ranks),
        trainings.job.execution.dtype,
    )


@dataclass(eq=False)
class _Found:
    """What this process knows of an evaluation so far.

    Attributes:
        accuracies: by number of network.
        seconds: in which at least one was training.
    """

    accuracies: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0
    _training: int = 0
    _since: float = 0.0

    def begin(self) -> None:
        """Count one group more that is training."""
        if not self._training:
            self._since = time.perf_counter()
        self._training += 1

    def end(self) -> None:
        """Count one group less."""
        self._training -= 1
        if not self._training:
            self.seconds += time.perf_counter() - self._since


@dataclass(eq=False)
class _Jobs:
    """The jobs of several evaluations as one; a task has its job's place.

    Attributes:
        jobs: of the evaluations.
        names: of their architectures.
    """

    jobs: Sequence[TrainAndTest]
    names: Sequence[str]

    def __call__(self, task: tuple[int, Task], report: Callable[[int], None], stop: object) -> Tested:
        """See `TrainAndTest`."""
        place, of_job = task
        for other in self.jobs[:place]:
            other.release()  # tasks come job after job
        try:
            return self.jobs[place](of_job, report, stop)
        except NonFiniteError as error:
            raise NonFiniteError(f"{self.names[place]}: {error}; a smaller learning rate may help") from None


class _Team:
    """Trains and tests the groups of this process.

    Args:
        everything: the evaluations.
    """

    def __init__(self, everything: Sequence[Trainings]) -> None:
        self._everything, self._found = everything, [_Found() for _ in everything]
        self._groups = [(place, group) for place, one in enumerate(everything) for group in one.groups]
        self._going: set[int] = set()
        total = sum(len(group) * everything[place].epochs for place, group in self._groups)
        names = ", ".join(dict.fromkeys(one.arch for one in everything))
        self._bar = Progress(f"evaluate ({names})", total=total, unit="epochs", enabled=everything[0].show_progress)
        self._last = "-"

    def run(self) -> Iterator[tuple[int, Runs]]:
        """Train and test all, and yield the place of an evaluation and what it reached when it is finished."""
        jobs = [one.job for one in self._everything]
        cores = max(job.execution.cores for job in jobs)
        tasks = ((place, self._everything[place].task(group)) for place, group in self._groups)
        work = _Jobs(jobs, [one.arch for one in self._everything])
        running = run_tasks(work, tasks, len(self._groups), cores=cores, on_report=self._on_epochs)
        left = [len(one.groups) for one in self._everything]
        with self._bar, closing(running):
            for place, groups in enumerate(left):
                if not groups:  # a rank without a network
                    yield place, self._runs(place)
            for number, tested in running:
                place, group = self._groups[number]
                self._going.discard(number)
                self._last = f"{tested.accuracies[-1]:.1f} %"
                found = self._found[place]
                found.end()
                found.accuracies.update(zip(group, tested.accuracies, strict=True))
                found.seconds += tested.seconds / min(cores, len(self._everything[place].groups))
                left[place] -= 1
                if not left[place]:
                    yield place, self._runs(place)

    def _runs(self, place: int) -> Runs:
        found = self._found[place]
        return Runs(found.accuracies, found.seconds, self._everything[place].job.execution.dtype)

    def _on_epochs(self, number: int, finished: int) -> None:
        place, group = self._groups[number]
        if number not in self._going:
            self._going.add(number)
            self._found[place].begin()
        self._bar.advance(finished * len(group), network=self._position(), last=self._last)

    def _position(self) -> str:
        """Return which networks are training, as the bar shows them."""
        told = []
        for place, one in enumerate(self._everything):
            going = [self._groups[number][1] for number in sorted(self._going) if self._groups[number][0] == place]
            if going:
                name = f"{one.arch} " if len(self._everything) > 1 else ""
                told.append(f"{name}{', '.join(map(_shown, going))}/{one.numbers[-1] + 1}")
        return "; ".join(told)


def _shown(numbers: range) -> str:
    """Return the numbers of networks as the bar shows them."""
    every = f" by {numbers.step}" if numbers.step > 1 else ""
    return f"{numbers[0] + 1}" if len(numbers) == 1 else f"{numbers[0] + 1}-{numbers[-1] + 1}{every}"

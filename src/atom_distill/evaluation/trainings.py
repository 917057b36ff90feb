"""Train and test the networks of one or more evaluations, which share the processes and the cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch

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
        accuracies: of each, percent.
        seconds: wall-clock time in which at least one of them was training.
        dtype: precision in which they were trained.
    """

    accuracies: tuple[float, ...]
    seconds: float
    dtype: torch.dtype


def train_all(everything: Sequence[Trainings]) -> list[Runs]:
    """Return what the networks of each evaluation have reached; all ranks call this.

    Ranks take turns in the networks, whatever evaluation they belong to; within a process, so do its workers. A network
    is the same wherever it is trained.

    Args:
        everything: of evaluations of the same ranks.
    """
    if not everything:
        return []
    ranks = everything[0].ranks
    groups = list(_groups(everything, ranks))
    files = [everything[place].file(group) for place, group in groups]
    if begun := sum(path.exists() for path in files):
        note(f"continuing an interrupted evaluation: {begun} of {len(files)} trainings were finished or begun")
    team = _Team(everything, groups)
    ranks.run_on_all(team.run)
    found = ranks.gather([(one.accuracies, one.seconds) for one in team.found])
    forget(files)
    return [
        Runs(
            tuple(accuracy for _, accuracy in sorted(item for of_rank, _ in of_all for item in of_rank.items())),
            max(seconds for _, seconds in of_all),
            trainings.job.execution.dtype,
        )
        for trainings, of_all in zip(everything, zip(*found, strict=True), strict=True)
    ]


def _groups(everything: Sequence[Trainings], ranks: Ranks) -> Iterator[tuple[int, range]]:
    """Yield this rank's groups of networks that train together, each with the place of its evaluation."""
    before = 0
    for place, one in enumerate(everything):
        mine = one.numbers[(ranks.rank - before) % ranks.size :: ranks.size]
        for group in in_groups(mine, one.job.execution.at_once):
            yield place, group
        before += len(one.numbers)


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
    """

    jobs: Sequence[TrainAndTest]

    def __call__(self, task: tuple[int, Task], report: Callable[[int], None], stop: object) -> Tested:
        """See `TrainAndTest`."""
        place, of_job = task
        for other in self.jobs[:place]:
            other.release()  # tasks come job after job
        return self.jobs[place](of_job, report, stop)


class _Team:
    """Trains and tests the groups of this process.

    Args:
        everything: the evaluations.
        groups: of networks that train together, each with the place of its evaluation.
    """

    def __init__(self, everything: Sequence[Trainings], groups: Sequence[tuple[int, range]]) -> None:
        self.found = [_Found() for _ in everything]
        self._everything, self._groups = everything, groups
        self._going: set[int] = set()
        total = sum(len(group) * everything[place].epochs for place, group in groups)
        names = ", ".join(dict.fromkeys(one.arch for one in everything))
        self._bar = Progress(f"evaluate ({names})", total=total, unit="epochs", enabled=everything[0].show_progress)
        self._last = "-"

    def run(self) -> None:
        """Train and test all."""
        jobs = _Jobs([one.job for one in self._everything])
        cores = max(job.execution.cores for job in jobs.jobs)
        tasks = ((place, self._everything[place].task(group)) for place, group in self._groups)
        running = run_tasks(jobs, tasks, len(self._groups), cores=cores, on_report=self._on_epochs)
        with self._bar, closing(running):
            for number, tested in running:
                place, group = self._groups[number]
                self._going.discard(number)
                self.found[place].end()
                self.found[place].accuracies.update(zip(group, tested.accuracies, strict=True))
                at_once = min(cores, sum(other == place for other, _ in self._groups))
                self.found[place].seconds += tested.seconds / at_once
                self._last = f"{tested.accuracies[-1]:.1f} %"

    def _on_epochs(self, number: int, finished: int) -> None:
        place, group = self._groups[number]
        if number not in self._going:
            self._going.add(number)
            self.found[place].begin()
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

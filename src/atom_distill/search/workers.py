"""The workers of a search: trials run in this process, at once in worker processes of this machine, or on Ray."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from atom_distill.base.device import pick_device
from atom_distill.base.errors import MissingExtraError
from atom_distill.base.progress import note
from atom_distill.ops.preprocessing import preprocessing_from_tensors
from atom_distill.processes.ray_cluster import Failure, RayCluster, RayNotStartedError, RaySettings
from atom_distill.processes.workers import run_tasks
from atom_distill.search.proxies import SearchData
from atom_distill.search.trials import Outcome, Trial, run_trial


class Workers(Protocol):
    """Runs trials, in any order and anywhere."""

    @property
    def device(self) -> str:
        """Kind of device that networks train on: "cpu", "cuda" or "mps"."""

    @property
    def description(self) -> str:
        """Where the trials run, for people."""

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """Yield each trial with its outcome as soon as it is finished."""

    def close(self) -> None:
        """Release all resources."""


class InProcess:
    """Runs trials on this machine: one after another in this process, or on a CPU in worker processes.

    Args:
        data: images.
        device: where networks train, by name.
        threads: of the processor, for each trial.
        cores: of the processor that worker processes use together; fewer than two times `threads` for this process.

    Raises:
        ConfigError: there is no such device.
    """

    def __init__(self, data: SearchData, device: str = "auto", threads: int = 1, cores: int = 1) -> None:
        self._place = pick_device(device)
        self._at_once = cores // threads if self._place.type == "cpu" else 1
        self._job = _RunHere(data, str(self._place), threads)

    @property
    def device(self) -> str:
        """See `Workers.device`."""
        return self._place.type

    @property
    def description(self) -> str:
        """See `Workers.description`."""
        how = f"{self._at_once} at once" if self._at_once > 1 else "one after another"
        return f"{how} on {self._place}, processor threads: {self._job.threads}"

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """See `Workers.run`.

        Raises:
            LostWorkerError: a worker process died.
        """
        at_once = self._at_once
        if at_once > 1 and not _can_be_sent(trials):
            note("builders of the main module, or without a name, run one after another; put them into a module")
            at_once = 1
        with closing(run_tasks(self._job, trials, len(trials), cores=at_once)) as running:
            for number, outcome in running:
                yield trials[number], outcome

    def close(self) -> None:
        """See `Workers.close`."""


@dataclass(frozen=True, eq=False)
class _RunHere:
    """Runs a trial in the process that it is called in."""

    data: SearchData
    device: str
    threads: int

    def __call__(self, trial: Trial, *_: object) -> Outcome:
        return run_trial(trial, self.data, self.device, self.threads)


def _can_be_sent(trials: Sequence[Trial]) -> bool:
    """Return whether another process can have the trials.

    It cannot if some builder of theirs is a function without a name, or defined in the main module, which is another
    one there.
    """
    try:
        return b"__main__" not in pickle.dumps(trials)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False


class OnRay:
    """Runs trials as Ray tasks.

    Args:
        data: images; they are put into Ray's shared memory once.
        settings: of Ray.

    Raises:
        MissingExtraError: Ray is not installed.
        RayNotStartedError: Ray does not start here.
        ConfigError: there is no cluster at the address, or none of its machines has what a trial needs.
    """

    def __init__(self, data: SearchData, settings: RaySettings) -> None:
        self._cluster = RayCluster(settings, caller="a search on Ray")
        try:
            # A new object does not carry what the old one has cached on the devices of this process.
            preprocessing = preprocessing_from_tensors(data.preprocessing.kind, data.preprocessing.tensors())
            self._data = self._cluster.put(replace(data, preprocessing=preprocessing))
        except BaseException:
            self.close()
            raise
        self._job = partial(_run_on_ray, device=self.device, threads=settings.threads)

    @property
    def device(self) -> str:
        """See `Workers.device`."""
        return self._cluster.device

    @property
    def description(self) -> str:
        """See `Workers.description`."""
        return self._cluster.description

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """See `Workers.run`.

        Raises:
            AtomError: the connection to the cluster was lost.
        """
        with closing(self._cluster.run(self._job, trials, self._data)) as running:
            for number, found in running:
                trial = trials[number]
                yield trial, Outcome.of(trial, failure=found.reason) if isinstance(found, Failure) else found

    def close(self) -> None:
        """See `Workers.close`."""
        self._cluster.close()


def on_ray_or_here(data: SearchData, settings: RaySettings, cores: int = 1) -> Workers:
    """Return workers on Ray, or on this machine, with a note, where Ray cannot be imported or started."""
    try:
        return OnRay(data, settings)
    except (MissingExtraError, RayNotStartedError) as error:
        note(f"{error.args[0]}; going on without it")
        return InProcess(data, settings.device, settings.threads, cores)


def _run_on_ray(trial: Trial, data: SearchData, *, device: str, threads: int) -> Outcome:
    return run_trial(trial, data, device, threads)

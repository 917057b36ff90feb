"""The workers of a search: trials run in this process, at once in worker processes of this machine, or on Ray.

Ray is optional: it is imported by `OnRay` only.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.device import pick_device
from atom_distill.base.errors import AtomError, ConfigError, MissingExtraError
from atom_distill.base.optional import require
from atom_distill.base.process import tune_process
from atom_distill.base.progress import note
from atom_distill.ops.preprocessing import preprocessing_from_tensors
from atom_distill.processes.workers import run_tasks
from atom_distill.search.proxies import SearchData
from atom_distill.search.trials import Outcome, Trial, run_trial

_DEFAULT_GPU_SHARE = 0.25
"""GPUs per trial: a small network leaves most of a GPU idle."""


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
        at_once = self._at_once if _can_be_sent(trials) else 1
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
    """Return whether another process can have the trials, or some builder of theirs is a function without a name."""
    try:
        pickle.dumps(trials)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


@dataclass(frozen=True)
class RaySettings:
    """How Ray is used.

    Attributes:
        ray_address: of a running cluster ("auto", or ray://host:port); None starts Ray on this machine.
        device: "cpu", "cuda", or "auto" for GPUs where the cluster has some.
        threads: processor cores per trial.
        gpus_per_trial: a share of one GPU, or a whole number of GPUs; None is a quarter where trials run on GPUs.
        dashboard: whether the Ray that is started shows its dashboard.
        retries: how often a trial is restarted after its worker died.

    Raises:
        ConfigError: the settings contradict each other.
    """

    ray_address: str | None = None
    device: str = "auto"
    threads: int = 1
    gpus_per_trial: float | None = None
    dashboard: bool = False
    retries: int = 3

    def __post_init__(self) -> None:
        gpus = self.gpus_per_trial
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"on Ray the device is auto, cpu or cuda, got {self.device!r}: Ray chooses which GPU")
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ConfigError(f"gpus_per_trial must be a share up to 1, or a whole number, got {gpus:g}")
        if (self.device == "cpu" and gpus) or (self.device == "cuda" and gpus == 0):
            raise ConfigError(f"device {self.device} and gpus_per_trial {gpus:g} contradict each other: change one")
        if self.dashboard and self.ray_address is not None:
            raise ConfigError(
                "dashboard is for a Ray that is started here, and ray_address is that of a running cluster: give one"
            )


class RayNotStartedError(ConfigError):
    """Ray does not start on this machine; the argument says why."""

    def __str__(self) -> str:
        return f"{self.args[0]}. Without Ray, trials can run in this process"


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
        self._ray = require("ray", extra="ray", caller="a search on Ray")
        self._started_ray = not self._ray.is_initialized()
        if self._started_ray:
            _start(self._ray, settings)
        try:
            self._settings = settings
            self._gpus = _gpus_per_trial(self._ray, settings)
            self._data = _put(self._ray, data)
        except BaseException:
            self.close()
            raise
        # By default a worker that used a GPU ends with its task, and the next one has to import torch again.
        self._task = self._ray.remote(
            num_cpus=settings.threads, num_gpus=self._gpus, max_calls=0, max_retries=settings.retries
        )(_run_in_worker)

    @property
    def device(self) -> str:
        """See `Workers.device`."""
        return "cuda" if self._gpus else "cpu"

    @property
    def description(self) -> str:
        """See `Workers.description`."""
        share = f" and {self._gpus:g} GPU" if self._gpus else ""
        total = self._ray.cluster_resources()
        return (
            f"on Ray, processor threads: {self._settings.threads}{share} a trial, "
            f"of {total.get('CPU', 0):g} cores, {total.get('GPU', 0):g} GPUs"
        )

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """See `Workers.run`.

        Raises:
            AtomError: the connection to the cluster was lost.
        """
        waiting = {self._task.remote(trial, self._data, self.device, self._settings.threads): trial for trial in trials}
        try:
            while waiting:
                (done,), _ = self._ray.wait(list(waiting), num_returns=1)
                trial = waiting.pop(done)
                yield trial, self._outcome(trial, done)
        finally:
            for task in waiting:  # the search was stopped
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """See `Workers.close`."""
        if self._started_ray:
            self._ray.shutdown()

    def _outcome(self, trial: Trial, done: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            found: Outcome = self._ray.get(done)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", error)
            return Outcome.of(trial, failure=f"{type(cause).__name__}: {' '.join(str(cause).split())[-300:]}")
        except errors.RayError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            if not isinstance(error, errors.WorkerCrashedError | errors.OutOfMemoryError | errors.NodeDiedError):
                raise AtomError(f"Ray was lost ({reason}). Run the same search again to continue") from None
            return Outcome.of(
                trial, failure=f"its worker died {self._settings.retries + 1} times, at last with: {reason}"
            )
        return found


def on_ray_or_here(data: SearchData, settings: RaySettings, cores: int = 1) -> Workers:
    """Return workers on Ray, or on this machine, with a note, where Ray cannot be imported or started."""
    try:
        return OnRay(data, settings)
    except (MissingExtraError, RayNotStartedError) as error:
        note(f"{error.args[0]}; going on without it")
        return InProcess(data, settings.device, settings.threads, cores)


def _start(ray: ModuleType, settings: RaySettings) -> None:
    """Start Ray on this machine, or connect to a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default Ray sends usage statistics
    os.environ.setdefault("RAY_task_oom_retries", str(settings.retries))  # by default without end
    address = settings.ray_address
    if address is not None:
        note(f"connecting to Ray at {address}")
    local = {"include_dashboard": settings.dashboard} if address is None else {}
    try:
        context = ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **local)
    except Exception as error:  # Ray has no error of its own for this
        reason = " ".join(str(error).split())[:300]
        if address is not None:
            raise ConfigError(f"there is no Ray cluster at {address}: {reason}; give another `ray_address`") from None
        hint = "; the dashboard needs: pip install 'ray[default]'" if settings.dashboard else ""
        raise RayNotStartedError(f"Ray does not start here: {reason}{hint}") from None
    if settings.dashboard:
        note(f"Ray's dashboard: http://{context.dashboard_url}")


def _gpus_per_trial(ray: ModuleType, settings: RaySettings) -> float:
    """Return the GPUs of a trial.

    Raises:
        ConfigError: a trial is larger than any machine; Ray would wait for one forever.
    """
    machines: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = settings.gpus_per_trial
    if gpus is None:
        has_gpu = any(machine.get("GPU", 0) for machine in machines)
        gpus = _DEFAULT_GPU_SHARE if settings.device == "cuda" or (settings.device == "auto" and has_gpu) else 0.0
    if not any(m.get("CPU", 0) >= settings.threads and m.get("GPU", 0) >= gpus for m in machines):
        largest = max(machines, key=lambda machine: (machine.get("GPU", 0), machine.get("CPU", 0)))
        raise ConfigError(
            f"a trial needs {settings.threads} CPU and {gpus:g} GPU, and no machine of this Ray has that (the largest: "
            f"{largest.get('CPU', 0):g} and {largest.get('GPU', 0):g}): use fewer threads or a smaller gpus_per_trial"
        )
    return gpus


def _put(ray: ModuleType, data: SearchData) -> Any:
    """Put the images into shared memory, as arrays; Ray would copy tensors into every trial."""
    from ray.util import deregister_serializer, register_serializer

    # A new object does not carry what the old one has cached on the devices of this process.
    preprocessing = preprocessing_from_tensors(data.preprocessing.kind, data.preprocessing.tensors())
    register_serializer(Tensor, serializer=_as_array, deserializer=_as_tensor)
    try:
        return ray.put(replace(data, preprocessing=preprocessing))
    finally:
        deregister_serializer(Tensor)


def _run_in_worker(trial: Trial, data: SearchData, device: str, threads: int) -> Outcome:
    tune_process()
    return run_trial(trial, data, device, threads)


def _as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return an array, which all workers of a machine read from the same memory, without a copy."""
    return tensor.detach().cpu().numpy()


def _as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the array is read-only, and nothing writes to it
        return torch.from_numpy(array)

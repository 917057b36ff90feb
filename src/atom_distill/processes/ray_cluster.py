"""Tasks of one job on Ray: on this machine, or on all machines of a cluster.

Ray is optional: it is imported when a cluster is joined.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.errors import AtomError, ConfigError
from atom_distill.base.optional import require
from atom_distill.base.process import BRIEF_SPINS, tune_process
from atom_distill.base.progress import note

Task = TypeVar("Task")
Result = TypeVar("Result")

_DEFAULT_GPU_SHARE = 0.25
"""GPUs per task: a small network leaves most of a GPU idle."""


@dataclass(frozen=True)
class RaySettings:
    """How Ray is used.

    Attributes:
        ray_address: of a running cluster ("auto", or ray://host:port); None starts Ray on this machine.
        device: "cpu", "cuda", or "auto" for GPUs where the cluster has some.
        threads: processor cores per task.
        gpus_per_task: a share of one GPU, or a whole number of GPUs; None is a quarter where tasks run on GPUs.
        dashboard: whether the Ray that is started shows its dashboard.
        retries: how often a task is restarted after its worker died.

    Raises:
        ConfigError: the settings contradict each other.
    """

    ray_address: str | None = None
    device: str = "auto"
    threads: int = 1
    gpus_per_task: float | None = None
    dashboard: bool = False
    retries: int = 3

    def __post_init__(self) -> None:
        gpus = self.gpus_per_task
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"on Ray the device is auto, cpu or cuda, got {self.device!r}: Ray chooses which GPU")
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ConfigError(f"`gpus_per_task` must be a share up to 1, or a whole number, got {gpus:g}")
        if (self.device == "cpu" and gpus) or (self.device == "cuda" and gpus == 0):
            raise ConfigError(f"device {self.device} and `gpus_per_task` {gpus:g} contradict each other: change one")
        if self.dashboard and self.ray_address is not None:
            raise ConfigError(
                "dashboard is for a Ray that is started here, and `ray_address` is that of a running cluster: give one"
            )


class RayNotStartedError(ConfigError):
    """Ray does not start on this machine; the argument says why."""

    def __str__(self) -> str:
        return f"{self.args[0]}. Without Ray, this machine alone can do the work"


@dataclass(frozen=True)
class Failure:
    """What came of a task that failed.

    Attributes:
        reason: the error that it raised, or how its worker died, in one line.
    """

    reason: str


class RayCluster:
    """The machines that Ray has; or this machine, where Ray is started for as long as this object is used.

    Args:
        settings: of Ray.
        caller: what needs Ray, for messages.

    Raises:
        MissingExtraError: Ray is not installed.
        RayNotStartedError: Ray does not start here.
        ConfigError: there is no cluster at the address, or none of its machines has what a task needs.
    """

    def __init__(self, settings: RaySettings, caller: str) -> None:
        self._ray = require("ray", extra="ray", caller=caller)
        self._settings = settings
        self._started_ray = not self._ray.is_initialized()
        if self._started_ray:
            _start(self._ray, settings)
        try:
            self._gpus = _gpus_per_task(self._ray, settings)
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> str:
        """Kind of device that tasks have: "cpu" or "cuda"."""
        return "cuda" if self._gpus else "cpu"

    @property
    def description(self) -> str:
        """What a task has, of how much, for people."""
        share = f" and {self._gpus:g} GPU" if self._gpus else ""
        total = self._ray.cluster_resources()
        return (
            f"on Ray, processor threads: {self._settings.threads}{share} each, "
            f"of {total.get('CPU', 0):g} cores, {total.get('GPU', 0):g} GPUs"
        )

    def put(self, value: object) -> Any:
        """Return a handle of an object that all tasks share, its tensors in memory that they map.

        Ray by itself would copy the tensors into every task.
        """
        from ray.util import deregister_serializer, register_serializer

        register_serializer(Tensor, serializer=_as_array, deserializer=_as_tensor)
        try:
            return self._ray.put(value)
        finally:
            deregister_serializer(Tensor)

    def run(
        self,
        job: Callable[[Task, Any], Result],
        tasks: Sequence[Task],
        shared: Any = None,
        after: Mapping[int, int] | None = None,
    ) -> Generator[tuple[int, Result | Failure], None, None]:
        """Yield the number of each task and its result, or why it failed, as soon as it is finished.

        Tasks that are still waiting or running when the generator is closed are canceled.

        Args:
            job: from a task and what is shared to a result; a function that can be pickled.
            tasks: what it is done with.
            shared: passed to all; a handle of `put` is replaced by its object.
            after: from the number of a task to that of an earlier one, which must be over before it begins.

        Raises:
            AtomError: the connection to the cluster was lost.
        """
        remote = self._ray.remote(
            num_cpus=self._settings.threads,
            num_gpus=self._gpus,
            max_calls=0,  # else a worker that used a GPU ends with its task, and the next one has to import torch again
            max_retries=self._settings.retries,
            runtime_env={"env_vars": {name: os.environ.get(name, value) for name, value in BRIEF_SPINS.items()}},
        )(_run_in_worker)
        handles: list[Any] = []
        for number, task in enumerate(tasks):
            before = None if after is None or number not in after else handles[after[number]]
            handles.append(remote.remote(job, task, shared, self._settings.threads, before))
        waiting = {handle: number for number, handle in enumerate(handles)}
        try:
            while waiting:
                (done,), _ = self._ray.wait(list(waiting), num_returns=1)
                yield waiting.pop(done), self._result(done)
        finally:
            for handle in waiting:
                self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """End the Ray that was started for this object; one that ran already is left running."""
        if self._started_ray:
            self._ray.shutdown()

    def _result(self, done: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(done)
        except errors.RayTaskError as error:
            return _failure(getattr(error, "cause", error))
        except errors.RayError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            if not isinstance(error, errors.WorkerCrashedError | errors.OutOfMemoryError | errors.NodeDiedError):
                raise AtomError(f"Ray was lost ({reason}). Give the same command again to continue") from None
            return Failure(f"its worker died {self._settings.retries + 1} times, at last with: {reason}")


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


def _gpus_per_task(ray: ModuleType, settings: RaySettings) -> float:
    """Return the GPUs of a task.

    Raises:
        ConfigError: a task is larger than any machine; Ray would wait for one forever.
    """
    machines: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = settings.gpus_per_task
    if gpus is None:
        has_gpu = any(machine.get("GPU", 0) for machine in machines)
        gpus = _DEFAULT_GPU_SHARE if settings.device == "cuda" or (settings.device == "auto" and has_gpu) else 0.0
    if not any(m.get("CPU", 0) >= settings.threads and m.get("GPU", 0) >= gpus for m in machines):
        largest = max(machines, key=lambda machine: (machine.get("GPU", 0), machine.get("CPU", 0)))
        raise ConfigError(
            f"a task needs {settings.threads} CPU and {gpus:g} GPU, and no machine of this Ray has that (the largest: "
            f"{largest.get('CPU', 0):g} and {largest.get('GPU', 0):g}): use fewer threads or a smaller `gpus_per_task`"
        )
    return gpus


def _run_in_worker(job: Callable[[Any, Any], Any], task: Any, shared: Any, threads: int, _before: Any) -> Any:
    """Return the result of a task, or its failure: an error would pass on to the tasks that wait for this one.

    Args:
        job: what is done.
        task: with what.
        shared: what all tasks share.
        threads: that it computes with.
        _before: of the task that it waits for.
    """
    tune_process()  # the memory only: torch is imported already
    torch.set_num_threads(threads)
    try:
        return job(task, shared)
    except Exception as error:
        return _failure(error)


def _failure(error: BaseException) -> Failure:
    return Failure(f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}")


def _as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return an array, which all workers of a machine read from the same memory, without a copy."""
    return tensor.detach().cpu().numpy()


def _as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the array is read-only, and nothing writes to it
        return torch.from_numpy(array)

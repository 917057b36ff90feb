"""Trials on Ray: on this machine's cores and GPUs, or on a cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.errors import AtomError, ConfigError
from atom_distill.base.optional import require
from atom_distill.base.process import tune_process
from atom_distill.base.progress import note
from atom_distill.ops.preprocessing import preprocessing_from_tensors
from atom_distill.search.data import SearchData
from atom_distill.search.trial import Outcome, Trial, outcome, run_trial

_SHARE_OF_GPU = 0.25
"""Of a trial, where there is one and nothing is asked for: small networks leave most of it idle."""


@dataclass(frozen=True)
class RaySettings:
    """How Ray is used.

    Attributes:
        address: of a running cluster ("auto", or ray://host:port); None starts Ray on this machine.
        device: "cpu", "cuda", or "auto" for GPUs where the cluster has some.
        threads: processor cores a trial.
        gpus: share of a GPU a trial, or a whole number of them; None is a quarter where trials run on GPUs.
        dashboard: whether the Ray that is started shows its dashboard.
        retries: times that a trial is begun again after its worker died.

    Raises:
        ConfigError: the settings contradict each other.
    """

    address: str | None = None
    device: str = "auto"
    threads: int = 1
    gpus: float | None = None
    dashboard: bool = False
    retries: int = 3

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"on Ray the device is auto, cpu or cuda, got {self.device!r}: Ray chooses which GPU")
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus))):
            raise ConfigError(f"gpus-per-trial must be a share up to 1, or a whole number, got {self.gpus:g}")
        if (self.device == "cpu" and self.gpus) or (self.device == "cuda" and self.gpus == 0):
            raise ConfigError(f"--device {self.device} and --gpus-per-trial {self.gpus:g} contradict each other")
        if self.dashboard and self.address is not None:
            raise ConfigError("--dashboard is for a Ray that is started here; a running cluster has its own, or none")


class OnRay:
    """Runs trials as Ray tasks.

    Args:
        data: images; they are put into Ray's shared memory once.
        settings: of Ray.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at the address, or no machine of it has what a trial needs.
    """

    def __init__(self, data: SearchData, settings: RaySettings) -> None:
        self._ray = require("ray", extra="ray", caller="atom search --on ray")
        self._started = not self._ray.is_initialized()
        if self._started:
            _start(self._ray, settings)
        try:
            self._settings = settings
            self._gpus = _gpus(self._ray, settings)
            self._data = _put(self._ray, data)
        except BaseException:
            self.close()
            raise
        # A worker that used a GPU would by default end with its task, and the next begin with importing torch.
        self._task = self._ray.remote(
            num_cpus=settings.threads, num_gpus=self._gpus, max_calls=0, max_retries=settings.retries
        )(_run)

    @property
    def device(self) -> str:
        """See `Workers.device`."""
        return "cuda" if self._gpus else "cpu"

    @property
    def description(self) -> str:
        """See `Workers.description`."""
        share = f" and {self._gpus:g} GPU" if self._gpus else ""
        there = self._ray.cluster_resources()
        has = f"{there.get('CPU', 0):g} cores, {there.get('GPU', 0):g} GPUs"
        return f"on Ray, processor threads: {self._settings.threads}{share} a trial, of {has}"

    def run(self, trials: Sequence[Trial]) -> Generator[tuple[Trial, Outcome], None, None]:
        """See `Workers.run`.

        Raises:
            AtomError: the cluster was lost.
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
        if self._started:
            self._ray.shutdown()

    def _outcome(self, trial: Trial, done: Any) -> Outcome:
        errors = self._ray.exceptions
        try:
            found: Outcome = self._ray.get(done)
        except errors.RayTaskError as error:
            cause = getattr(error, "cause", error)
            return outcome(trial, failure=f"{type(cause).__name__}: {' '.join(str(cause).split())[-300:]}")
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return outcome(
                trial, failure=f"its worker died {self._settings.retries + 1} times, the last of it: {reason}"
            )
        except errors.RayError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise AtomError(f"Ray was lost ({reason}). Finished trials are kept; the same command goes on") from None
        return found


def _start(ray: ModuleType, settings: RaySettings) -> None:
    """Start Ray here, or enter a cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home unless told not to
    os.environ.setdefault("RAY_task_oom_retries", str(settings.retries))  # without it, as often as it takes
    if settings.address is not None:
        note(f"connecting to Ray at {settings.address}")
    own = {"include_dashboard": settings.dashboard} if settings.address is None else {}
    try:
        context = ray.init(address=settings.address or "local", log_to_driver=False, logging_level="ERROR", **own)
    except Exception as error:  # Ray has no error of its own for this
        reason = " ".join(str(error).split())[:300]
        where = f"there is no Ray cluster at {settings.address}" if settings.address else "Ray does not start here"
        extra = "; the dashboard needs: pip install 'ray[default]'" if settings.dashboard else ""
        raise ConfigError(f"{where}: {reason}{extra}. Leave Ray out with --on process") from None
    if settings.dashboard:
        note(f"Ray's dashboard: http://{context.dashboard_url}")


def _gpus(ray: ModuleType, settings: RaySettings) -> float:
    """Settle the GPUs of a trial, and refuse what would wait for ever: a trial larger than any machine."""
    machines: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    has_gpu = any(machine.get("GPU", 0) for machine in machines)
    gpus = settings.gpus
    if gpus is None:
        gpus = _SHARE_OF_GPU if settings.device == "cuda" or (settings.device == "auto" and has_gpu) else 0.0
    if not any(m.get("CPU", 0) >= settings.threads and m.get("GPU", 0) >= gpus for m in machines):
        largest = max(machines, key=lambda machine: (machine.get("GPU", 0), machine.get("CPU", 0)))
        raise ConfigError(
            f"a trial wants {settings.threads} CPU and {gpus:g} GPU, and no machine of this Ray has that "
            f"(the largest: {largest.get('CPU', 0):g} and {largest.get('GPU', 0):g})"
        )
    return gpus


def _put(ray: ModuleType, data: SearchData) -> Any:
    """Put the images into shared memory; Ray knows arrays, and would copy tensors into every trial."""
    from ray.util import deregister_serializer, register_serializer

    # Made anew, the preprocessing is without what it has laid out on this process's devices.
    preprocessing = preprocessing_from_tensors(data.preprocessing.kind, data.preprocessing.tensors())
    register_serializer(Tensor, serializer=_as_array, deserializer=_as_tensor)
    try:
        return ray.put(replace(data, preprocessing=preprocessing))
    finally:
        deregister_serializer(Tensor)


def _run(trial: Trial, data: SearchData, device: str, threads: int) -> Outcome:
    """Run a trial in a worker of Ray."""
    tune_process()
    return run_trial(trial, data, device, threads)


def _as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Give what Ray's workers on one machine read from one place in memory, without a copy."""
    return tensor.detach().cpu().numpy()


def _as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the array is read-only, and nothing writes to it
        return torch.from_numpy(array)

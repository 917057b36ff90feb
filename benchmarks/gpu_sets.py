"""Distill sets by the command, and train networks on them in processes that share a GPU, each from a number of its own.

The networks are those of `atom evaluate`. One after another they leave a GPU idle most of the time, as each batch is
small; several processes fill it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from gpu_session import Session

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.tensors import checksum
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import load_dataset
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.training.training_execution import ExecutionOptions

_NETWORKS = 5


@dataclass(frozen=True)
class Effort:
    """The data set, and how long networks are trained; small for a test.

    Attributes:
        dataset: its name.
        settings: options of `atom distill` for all sets.
        shape: of the networks.
        protocol: how networks are trained.
        networks: trained on each set.
        compile: whether evaluated networks are compiled.
        workers: processes that train networks at the same time.
    """

    dataset: str
    settings: tuple[str, ...]
    shape: NetworkShape
    protocol: TrainingProtocol
    networks: int
    compile: bool
    workers: int


def effort_of(session: Session) -> Effort:
    """Return the effort of a session."""
    dm = PROTOCOLS.get("dm")
    if not session.small:
        return Effort("cifar10", ("--snapshots", "0"), NetworkShape(), dm, _NETWORKS, True, _NETWORKS)
    settings = ["--width", "4", "--batch-real", "4", "--snapshots", "0"]
    return Effort(
        "digits", tuple(settings), NetworkShape(width=4), dm.changed(epochs=10, batch_size=8, lr=0.1), 2, False, 1
    )


@dataclass(frozen=True)
class Job:
    """One network to train on one set.

    Attributes:
        run: folder of the set.
        number: of the network in the evaluation.
        effort: of the session.
        device: where it is trained.
        made: checksum of the set.
    """

    run: Path
    number: int
    effort: Effort
    device: str
    made: int

    @property
    def name(self) -> str:
        """Of the case."""
        return f"{self.run.name}: network {self.number + 1}"


def measure_sets(session: Session, sets: Mapping[str, Sequence[str]]) -> None:
    """Distill sets, all at the same time, and evaluate each as soon as it is there.

    Args:
        session: its cases become the figures of each set, the accuracy of each network, and the score of each set.
        sets: options of `atom distill` by the name of the run.
    """
    effort = effort_of(session)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")  # not one a core in each of the processes
    context = get_context("spawn")  # a GPU does not survive a fork
    share = partial(share_threads, effort.workers)
    with ThreadPoolExecutor(len(sets)) as threads, ProcessPoolExecutor(effort.workers, context, share) as workers:
        distilling = {threads.submit(_distill, session, name, options): name for name, options in sets.items()}
        judging: dict[Future[dict[str, Any]], Job] = {}
        while distilling or judging:
            done, _ = wait([*distilling, *judging], return_when=FIRST_COMPLETED)
            for future in done:
                if future in distilling:
                    name = distilling.pop(future)
                    session.case(name, future.result, again=True)
                    for job in _jobs(session, name, effort):
                        judging[workers.submit(judge, job)] = job
                else:
                    job = judging.pop(future)
                    session.case(job.name, future.result, again=True)
                    _keep_score(session, job)


def _distill(session: Session, name: str, options: Sequence[str]) -> dict[str, Any]:
    """Distill a set into its folder, or continue; return its size and seconds."""
    effort, run = effort_of(session), session.runs / name
    started = time.perf_counter()
    command = [sys.executable, "-m", "atom_distill", "distill", effort.dataset, "--device", session.device]
    command += [*effort.settings, *options, "--resume", "--out", str(run)]
    subprocess.run(command, check=True)
    distilled = DistilledDataset.load(run)
    record = distilled.record
    return {
        "set": checksum(distilled.stored),
        "pictures": len(distilled) // len(distilled.class_names),
        "bytes": distilled.stored_bytes // len(distilled.class_names),
        "steps": distilled.steps,
        "steps_s": record.get("seconds"),
        "run_s": record.get("run_seconds"),
        "pool_s": record.get("pool_seconds"),
        "command_s": round(time.perf_counter() - started, 1),
    }


def _jobs(session: Session, name: str, effort: Effort) -> list[Job]:
    """Return the networks that are still to be trained on a set; none if it could not be distilled.

    A set that was lost with its machine and distilled again may differ by rounding: its networks are trained anew.
    """
    cases = session.cases()
    if "error" in cases[name]:
        return []
    made = int(cases[name]["set"])
    jobs = [Job(session.runs / name, number, effort, session.device, made) for number in range(effort.networks)]
    return [job for job in jobs if cases.get(job.name, {}).get("set") != made]


def judge(job: Job) -> dict[str, Any]:
    """Train a network, in a worker; return its score as JSON, and when it began and ended."""
    started = time.time()
    evaluation = Evaluation(
        shape=job.effort.shape,
        repeats=1,
        first=job.number,  # its draws are those of the n-th network of one evaluation
        protocol=job.effort.protocol,
        device=torch.device(job.device),
        execution=ExecutionOptions(compile="on" if job.effort.compile else "off", at_once=1),
        show_progress=False,
    )
    score = evaluation.of_distilled(_set(job.run), _dataset(job.effort.dataset))
    values = score.model_dump(mode="json", exclude={"mean", "std"})
    return {"accuracy": score.mean, "set": job.made, "began": started, "ended": time.time(), "score": values}


def share_threads(processes: int) -> None:
    """Leave to each of several processes its share of this one's threads."""
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def _keep_score(session: Session, job: Job) -> None:
    """Keep the score of a set with it as soon as the last of its networks is trained."""
    cases = session.cases()
    parts = [cases.get(replace(job, number=number).name, {}) for number in range(job.effort.networks)]
    if any(part.get("set") != job.made for part in parts):
        return
    score = joined(
        [Score(**part["score"]) for part in parts], _busy([(part["began"], part["ended"]) for part in parts])
    )
    DistilledDataset.load(job.run).add_score(score)
    session.add(f"{job.run.name}: score", {"accuracy": score.mean, "std": score.std, "seconds": score.seconds})


def joined(scores: Sequence[Score], seconds: float) -> Score:
    """Return the score of all networks, given that of each."""
    runs = tuple(accuracy for score in scores for accuracy in score.runs)
    return scores[0].model_copy(update={"runs": runs, "seconds": seconds})


def _busy(intervals: Sequence[tuple[float, float]]) -> float:
    """Return how long at least one of several intervals lasted."""
    total, until = 0.0, 0.0
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


@cache
def _set(run: Path) -> DistilledDataset:
    return DistilledDataset.load(run)


@cache
def _dataset(name: str) -> ImageDataset:
    return load_dataset(name)

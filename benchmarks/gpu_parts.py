"""The parts of a session on a GPU that are not about accuracy: a step, evaluation, a pool, one rank."""

from __future__ import annotations

import gc
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from queue import Queue
from threading import Barrier
from typing import Any

import torch
from gpu_session import Session
from gpu_sets import Effort, effort_of, share_threads
from machine import measure, synchronize
from random_images import random_set
from step import Case, Compiled, graphs, our_step, plain_step, seconds_of
from torch import distributed as dist

from atom_distill.api import distill
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.peak_memory import PeakMemory
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.load import load_dataset
from atom_distill.models.build import build_model
from atom_distill.training.networks import networks_for
from atom_distill.training.train import accuracies, train
from atom_distill.training.training_execution import ExecutionOptions
from atom_distill.training.training_images import Pixels, StoredTensors

_LONGEST = 600.0
"""Seconds that processes wait for each other."""


def _ways(session: Session) -> dict[str, Compiled]:
    """Return how code is compiled, by the name of the way; compiling takes longer than a test may."""
    return {"eager": "off"} if session.small else {"eager": "off", "compiled": "on", "graphs": "reduce-overhead"}


def measure_steps(session: Session) -> None:
    """Time a step at ipc 10, 1 and 50, one of TinyImageNet's shape, and one within a limit of memory."""
    device = torch.device(session.device)
    machine = None if session.small else measure(device)
    for name, case in _step_cases(session).items():
        floor = {} if machine is None else {"floor_ms": round(1e3 * case.floor(machine), 3)}
        if not case.settings:
            session.case(f"{name}: plain", partial(_timed, plain_step, case, floor))
        for way, compiled in _ways(session).items():
            session.case(f"{name}: {way}", partial(_timed, our_step, replace(case, compile=compiled), floor))
        if device.type == "cuda":
            session.case(f"{name}: host", partial(_host, replace(case, compile="off")))


def _step_cases(session: Session) -> dict[str, Case]:
    device = torch.device(session.device)
    if session.small:
        return {"ipc 1": Case(1, 2, 8, 2, "instance", 2, device)}
    cifar = partial(Case, classes=10, size=32, depth=3, norm="instance", batch_real=128, device=device)
    return {
        "ipc 10": cifar(10),
        "ipc 1": cifar(1),
        "ipc 50": cifar(50),
        "ipc 10, bfloat16": cifar(10, settings={"synthetic_dtype": "bfloat16"}),
        "ipc 50, memory 1": cifar(50, settings={"memory": 1}),
        "TinyImageNet, ipc 1": Case(1, 200, 64, 4, "instance", 128, device),
    }


def _timed(
    make: Callable[[Case], Callable[[], object]], case: Case, floor: dict[str, float], rounds: int = 20
) -> dict[str, Any]:
    """Return the time of a step, that of the first two, which compile, and the peak memory."""
    torch.compiler.reset()  # graphs of the case before hold memory
    gc.collect()
    with PeakMemory(case.device) as peak:
        step = make(case)
        first = seconds_of(step, case.device) + seconds_of(step, case.device)
        times = [seconds_of(step, case.device) for _ in range(rounds)]
    ms = 1e3 * statistics.median(times)
    return {"ms": round(ms, 3), **floor, "first_s": round(first, 1), "mib": round(peak.mib)}


def _host(case: Case) -> dict[str, Any]:
    """Return at which lines the host waits for the GPU in a step, and how many kernels it launches for how long."""
    step = our_step(case)
    step()
    step()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    places = Counter(f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message))
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        seconds_of(step, case.device)
    kernels = [one for one in profile.events() if one.device_type.name == "CUDA"]
    busy_ms = sum(one.self_device_time_total for one in kernels) / 1e3
    return {"waits": places.total(), "kernels": len(kernels), "busy_ms": round(busy_ms, 3), "places": dict(places)}


def measure_evaluations(session: Session) -> None:
    """Time the training of networks on 100 and 610 images: stacked, one by one, and in processes."""
    effort = effort_of(session)
    for ipc, epochs in ((1, 2),) if session.small else ((10, 300), (61, 100)):
        training = partial(_training, session.device, effort, ipc, epochs)
        for way, compiled in _ways(session).items():
            session.case(f"ipc {ipc}: one by one, {way}", partial(training, compiled=compiled))
            if compiled != "reduce-overhead":
                stacked = partial(training, compiled=compiled, count=effort.networks)
                session.case(f"ipc {ipc}: {effort.networks} stacked, {way}", stacked)
                together = partial(_in_processes, training, compiled, effort.workers)
                session.case(f"ipc {ipc}: {effort.workers} processes, {way}", together)


def _training(
    device_name: str,
    effort: Effort,
    ipc: int,
    epochs: int,
    *,
    compiled: Compiled,
    count: int = 1,
    ready: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Return the milliseconds of a batch per network, seconds of the first epochs and of testing, and the accuracy.

    Args:
        device_name: where networks are trained.
        effort: which data set and networks.
        ipc: random real images a class.
        epochs: which are timed.
        compiled: how.
        count: networks that train together.
        ready: called before what is timed.
    """
    torch.compiler.reset()
    device, dataset, protocol = torch.device(device_name), load_dataset(effort.dataset), PROTOCOLS.get("dm")
    tiny = random_set(dataset, ipc, "normalize")
    options = ExecutionOptions(compile="off" if compiled == "off" else "on", at_once=count)
    execution = options.plan(device, pixels=0.0, repeats=count)
    networks = networks_for(
        build_model("convnet", dataset.image_shape, dataset.num_classes, effort.shape), execution, count
    )
    images = [StoredTensors(tiny.images, tiny.labels, device)] * count

    def go(passes: int) -> None:
        changed = protocol.changed(epochs=passes)
        train(networks, images, changed, seed=0, repeats=range(count), on_epoch=lambda: None)

    with graphs(compiled == "reduce-overhead"):
        first = seconds_of(partial(go, 2), device)
        ready()
        seconds = seconds_of(partial(go, epochs), device)
    batches = epochs * -(-len(tiny) // protocol.batch_size)
    test = Pixels(dataset.test, tiny.preprocessing, device, execution.dtype)
    began = time.perf_counter()
    accuracy = statistics.fmean(accuracies(networks, test))
    return {
        "ms": round(1e3 * seconds / batches / count, 3),
        "first_s": round(first, 1),
        "test_s": round(time.perf_counter() - began, 2),
        "accuracy": round(accuracy, 2),
    }


def _in_processes(training: Callable[..., dict[str, Any]], compiled: Compiled, count: int) -> dict[str, Any]:
    """Return the same for networks of which each trains in a process of its own, all at the same time."""
    context = get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    arguments = (training, compiled, barrier, answers)
    processes = [context.Process(target=_member, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=_LONGEST) for _ in processes]
    for process in processes:
        process.join()
    for one in found:
        if "error" in one:
            raise RuntimeError(one["error"])
    slowest = {name: max(one[name] for one in found) for name in ("ms", "first_s", "test_s")}
    accuracy = statistics.fmean(one["accuracy"] for one in found)
    return {**slowest, "ms": round(slowest["ms"] / count, 3), "accuracy": round(accuracy, 2)}


def _member(
    training: Callable[..., dict[str, Any]], compiled: Compiled, barrier: Barrier, answers: Queue[dict[str, Any]]
) -> None:
    share_threads(barrier.parties)
    try:
        answers.put(training(compiled=compiled, ready=partial(barrier.wait, _LONGEST)))
    except Exception as error:
        barrier.abort()  # the others would wait for this one
        answers.put({"error": repr(error)})
        raise


def measure_pool(session: Session) -> None:
    """Time an epoch of a network of the pool, and steps with the synthetic branch in float32 and bfloat16."""
    for way, compiled in _ways(session).items():
        session.case(f"epoch of a pool, {way}", partial(_pool_epoch, session, compiled))
    small = {"steps": 2, "width": 4, "batch_real": 4, "pool_epochs": 1, "bytes": 64}
    sizes: dict[str, dict[str, Any]] = {
        "ipc 10": {"ipc": 10, "steps": 200},
        "best, 30720 bytes": {"preset": "best", "bytes": 30720, "steps": 200},
    }
    for name, settings in {"best": {"preset": "best", **small}}.items() if session.small else sizes.items():
        for dtype in ("float32", "bfloat16"):
            session.case(f"{name}: {dtype}", partial(_steps_in, session, dtype, settings))


def _pool_epoch(session: Session, compiled: Compiled) -> dict[str, Any]:
    effort, device = effort_of(session), torch.device(session.device)
    dataset = load_dataset(effort.dataset)
    images = Pixels(dataset.train, fit_preprocessing("normalize", dataset), device)
    network = build_model("convnet", dataset.image_shape, dataset.num_classes, effort.shape)
    options = ExecutionOptions(compile="off" if compiled == "off" else "on")
    networks = networks_for(network, options.plan(device, pixels=0.0, repeats=1), 1)
    times = [time.perf_counter()]

    def on_epoch() -> None:
        synchronize(device)
        times.append(time.perf_counter())

    protocol = PROTOCOLS.get("pool").changed(epochs=2 if session.small else 3)
    with graphs(compiled == "reduce-overhead"):
        train(networks, [images], protocol, seed=0, repeats=[0], on_epoch=on_epoch)
    test = Pixels(dataset.test, images.preprocessing, device)
    (accuracy,) = accuracies(networks, test)
    first, *rest = [after - before for before, after in pairwise(times)]
    return {"s": round(statistics.median(rest), 2), "first_s": round(first, 1), "accuracy": round(accuracy, 2)}


def _steps_in(session: Session, dtype: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Take the steps of a run in memory; return their time and the loss at their end."""
    dataset = load_dataset(effort_of(session).dataset)
    run: dict[str, Any] = {"device": session.device, "compile": "off", "synthetic_dtype": dtype, "show_progress": False}
    distill(dataset, **run, **{**settings, "steps": 2})  # begins with what is done once in a process
    distilled = distill(dataset, **run, **settings)
    losses = [entry["loss"] for entry in distilled.history]
    return {
        "ms": round(1e3 * distilled.record["seconds"] / len(losses), 1),
        "loss_first": round(losses[0], 3),
        "loss_last_20": round(statistics.fmean(losses[-20:]), 3),
    }


def measure_one_rank(session: Session) -> None:
    """Compare a run that torchrun starts as one rank with runs without it, and sum in a group of one."""
    session.case("torchrun", partial(_torchrun, session))
    session.case("collectives", partial(_collectives, torch.device(session.device), session.runs / "one-rank-group"))


def _torchrun(session: Session) -> dict[str, Any]:
    """Return the largest differences of stored values from a first run: of a second one, and of one by torchrun."""
    effort = effort_of(session)
    launchers = {
        "first": [],
        "second": [],
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"],
    }
    options = ["distill", effort.dataset, "--ipc", "1", "--preprocess", "normalize", "--device", session.device]
    options += [*effort.settings, "--steps", "2" if session.small else "20", "--compile", "off"]
    found = {}
    for name, launcher in launchers.items():
        run = session.runs / f"one-rank-{name}"
        shutil.rmtree(run, ignore_errors=True)
        subprocess.run([sys.executable, *launcher, "-m", "atom_distill", *options, "--out", str(run)], check=True)
        found[name] = DistilledDataset.load(run).images
    return {name: float((found[name] - found["first"]).abs().max()) for name in ("second", "torchrun")}


def _collectives(device: torch.device, meeting: Path) -> dict[str, Any]:
    """Sum over the ranks of a group of one, by the backend of the device; torchrun with one process makes no group.

    Args:
        device: of the values.
        meeting: file by which the ranks of a group find each other.
    """
    meeting.parent.mkdir(parents=True, exist_ok=True)
    meeting.unlink(missing_ok=True)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting.resolve()}", rank=0, world_size=1)
    values = torch.arange(1 << 20, device=device, dtype=torch.float32)
    summed = values.clone()
    seconds = [seconds_of(partial(dist.all_reduce, summed), device) for _ in range(10)]
    gathered: list[Any] = [None]
    dist.all_gather_object(gathered, "rank 0")
    dist.destroy_process_group()
    return {"ms": round(1e3 * statistics.median(seconds), 3), "same": bool((summed == values).all()), "all": gathered}

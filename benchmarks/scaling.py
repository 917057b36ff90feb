"""How a step's time and memory grow with classes, resolution, ipc and processes.

    python benchmarks/scaling.py [--axes classes pixels ipc ranks] [--rounds 3] [--json FILE]

Each case runs in processes of its own, on random images that lie on disk and are mapped, as prepared sets are. One axis
is moved at a time. The exponent is the slope of log time over log size: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import socket
import statistics
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.process import tune_process
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.config.presets import SetFacts, resolve
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.matching_execution import plan_execution
from atom_distill.distillation.methods import METHODS
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.step import MatchingStep
from atom_distill.models.build import build_model
from atom_distill.processes.ranks import current_ranks, leave

AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "classes": ("classes", (10, 32, 100, 320, 1000)),
    "pixels": ("size", (32, 64, 128, 224)),
    "ipc": ("ipc", (1, 10, 50)),
    "ranks": ("ranks", (1, 2)),
}
"""What is moved, and where to."""


@dataclass(frozen=True)
class Case:
    """What is timed: real and synthetic images of so many classes, size x size pixels, by so many processes."""

    classes: int = 10
    size: int = 32
    ipc: int = 1
    ranks: int = 1
    batch_real: int = 16
    rounds: int = 3
    compiled: bool = True


def main() -> None:
    """Run the benchmark and print a table for each axis."""
    options = _options()
    base = Case(batch_real=options.batch_real, rounds=options.rounds, compiled=not options.eager)
    content: dict[str, Any] = {"base": asdict(base), "axes": {}, "record": run_record()}
    for axis in options.axes:
        field, values = AXES[axis]
        rows = []
        for value in values:
            note(f"{axis}: {field} {value}")
            rows.append({field: value, **_measured(Case(**{**asdict(base), field: value}))})
        content["axes"][axis] = {"rows": rows, "exponent": _exponent(axis, field, rows)}
        _print(axis, field, content["axes"][axis])
    if options.json:
        Path(options.json).write_text(json.dumps(content, indent=2, default=str) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--batch-real", type=int, default=16, help="real images per class")
    parser.add_argument("--rounds", type=int, default=3, help="steps that are timed, after two that are not")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def _exponent(axis: str, field: str, rows: list[dict[str, Any]]) -> float:
    sizes = [math.log(row[field] ** 2 if axis == "pixels" else row[field]) for row in rows]
    slope, _ = statistics.linear_regression(sizes, [math.log(row["seconds"]) for row in rows])
    return slope


def _print(axis: str, field: str, found: dict[str, Any]) -> None:
    print(f"\n| {field} | s per step | peak MB |\n|---|---|---|")
    for row in found["rows"]:
        print(f"| {row[field]} | {row['seconds']:.3f} | {row['peak_mb']:.0f} |")
    print(f"\ntime grows with {axis} to the power of {found['exponent']:.2f}")


def _measured(case: Case) -> dict[str, float]:
    """Time a case in fresh processes; memory is that of the largest."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    answers: Queue[dict[str, float]] = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        pixels = Path(folder) / "pixels.bin"
        with pixels.open("wb") as file:
            for _ in range(case.classes):
                file.write(os.urandom(case.batch_real * 3 * case.size**2))
        processes = [
            context.Process(target=_member, args=(case, rank, port, pixels, answers)) for rank in range(case.ranks)
        ]
        for process in processes:
            process.start()
        found = [answers.get() for _ in processes]
        for process in processes:
            process.join()
    return {name: max(one[name] for one in found) for name in ("seconds", "peak_mb")}


def _member(case: Case, rank: int, port: int, pixels: Path, answers: Queue[dict[str, float]]) -> None:
    """Take some steps as one of the processes; the slowest's time counts, as they wait for each other."""
    tune_process()
    size = str(case.ranks)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": size, "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": size}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // case.ranks))
    step, everyone = _step(case, pixels), current_ranks()
    peak, done = [0.0], threading.Event()
    watch = threading.Thread(target=_follow, args=(peak, done))
    watch.start()
    times = []
    for index in range(2 + case.rounds):
        started = time.perf_counter()
        step(index)
        everyone.sum(torch.zeros(1))
        times.append(time.perf_counter() - started)
    done.set()
    watch.join()
    answers.put({"seconds": statistics.median(times[2:]), "peak_mb": peak[0]})
    leave()


def _step(case: Case, path: Path) -> Any:
    count, shape = case.classes * case.batch_real, (3, case.size, case.size)
    pixels = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(count, *shape)))
    labels = torch.arange(case.classes).repeat_interleave(case.batch_real)
    few = Split(pixels[: case.classes], torch.arange(case.classes))
    names = tuple(map(str, range(case.classes)))
    dataset = ImageDataset("random", Split(pixels, labels), few, names, "random", "random")
    given = {"ipc": case.ipc, "batch_real": case.batch_real, "compile": "on" if case.compiled else "off"}
    config = resolve(SetFacts(shape, case.classes, count), given).config
    execution = plan_execution(config, shape, case.classes)
    preprocessing = fit_preprocessing("normalize", dataset)
    shard = Shard(current_ranks(), torch.full((case.classes,), case.ipc))
    device, dtype = execution.device, execution.real_dtype
    objective: Any = METHODS.get("atom")(config)
    network = build_model("convnet", shape, case.classes, NetworkShape())
    matching = MatchingStep(
        shard=shard,
        sampler=ClassSampler(dataset, preprocessing, case.batch_real, device, dtype, shard.classes),
        encoder=Encoder(network, objective, execution),
        operations=config.operations(),
        seed=0,
        chunk=execution.chunk,
    )
    mine = case.ipc * len(shard.classes)
    images = torch.randn(mine, *shape, device=device).requires_grad_()
    optimizer = torch.optim.SGD([images], lr=1.0, momentum=0.5)

    def step(index: int) -> None:
        optimizer.zero_grad()
        float(matching(images, index).sum())  # which waits for a GPU
        optimizer.step()

    return step


def _follow(peak: list[float], done: threading.Event) -> None:
    """Keep the most memory seen, MB: of a GPU what torch holds, else the process's own, without mapped files."""
    status = Path("/proc/self/status")
    while not done.wait(0.005):
        if torch.cuda.is_available():
            peak[0] = torch.cuda.max_memory_allocated() / 1e6
            continue
        found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
        if found:
            peak[0] = max(peak[0], int(found[1]) * 1024 / 1e6)


if __name__ == "__main__":
    main()

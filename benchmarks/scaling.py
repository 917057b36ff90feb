"""How a step's time and memory grow with classes, resolution, ipc and processes.

    python benchmarks/scaling.py [--axes classes pixels ipc ranks] [--rounds 3] [--json FILE]

Each case runs in separate processes, on random images in a file that is mapped, as cached data sets are. One quantity
is varied at a time. The exponent is the slope of log time over log size: 1 is linear.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import ours
import torch

from atom_distill.api import plan_distillation
from atom_distill.base.process import usable_cores
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.processes.ranks import join, leave

AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "classes": ("classes", (10, 32, 100, 320, 1000)),
    "pixels": ("size", (32, 64, 128, 224)),
    "ipc": ("ipc", (1, 10, 50)),
    "ranks": ("ranks", (1, 2)),
}
"""The quantity that an axis varies, and its values."""


@dataclass(frozen=True)
class Case:
    """What is timed."""

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
    parser.add_argument("--rounds", type=int, default=3, help="timed steps, after two that are not")
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
    """Time a case in new processes; memory is that of the largest."""
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
        found = [_answer(answers, processes) for _ in processes]
        for process in processes:
            process.join()
    return {name: max(one[name] for one in found) for name in ("seconds", "peak_mb")}


def _answer(answers: Queue[dict[str, float]], processes: Sequence[BaseProcess]) -> dict[str, float]:
    """Return the next answer; end all processes if one has failed, since the others wait for it."""
    while True:
        try:
            return answers.get(timeout=1)
        except Empty:
            if any(process.exitcode for process in processes):
                for process in processes:
                    process.terminate()
                raise SystemExit("a process of this case failed, for the reason above or for lack of memory") from None


def _member(case: Case, rank: int, port: int, pixels: Path, answers: Queue[dict[str, float]]) -> None:
    """Take some steps as one of the processes; the slowest's time counts, as they wait for each other."""
    size = str(case.ranks)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": size, "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": size}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    ranks = join()
    torch.set_num_threads(max(1, usable_cores() // case.ranks))
    step = _step(case, pixels)
    peak, done = [0.0], threading.Event()
    watch = threading.Thread(target=_follow, args=(peak, done))
    watch.start()
    times = []
    for index in range(2 + case.rounds):
        started = time.perf_counter()
        step(index)
        ranks.sum(torch.zeros(1))
        times.append(time.perf_counter() - started)
    done.set()
    watch.join()
    answers.put({"seconds": statistics.median(times[2:]), "peak_mb": peak[0]})
    leave()


def _step(case: Case, path: Path) -> Callable[[int], float]:
    """Return what takes a step of a case."""
    images, shape = case.classes * case.batch_real, (3, case.size, case.size)
    pixels = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(images, *shape)))
    labels = torch.arange(case.classes).repeat_interleave(case.batch_real)
    few = Split(pixels[: case.classes], torch.arange(case.classes))
    names = tuple(map(str, range(case.classes)))
    dataset = ImageDataset("random", Split(pixels, labels), few, names, "random", "random")
    settings = {
        "ipc": case.ipc,
        "batch_real": case.batch_real,
        "init": "noise",
        "compile": "on" if case.compiled else "off",
    }
    noise = torch.randn(case.classes * case.ipc, *shape)
    return ours.step_function(plan_distillation(dataset, settings), fit_preprocessing("normalize", dataset), noise)


def _follow(peak: list[float], done: threading.Event) -> None:
    """Record the peak memory, MB: on a GPU what torch holds, else the process's own without mapped files."""
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

"""Time a distillation step of the plain loop in `examples/atom_in_one_file.py`, and of the package.

    python benchmarks/step.py [--ipc 1 10 50] [--rounds 5] [--json FILE]

Both do the same work on random images. They run in one process, taking steps in turn; medians are reported, next to
the lower bound that this machine's matrix rate and memory bandwidth set. Peak memory is measured in a separate process
for each, over a few steps.
"""

from __future__ import annotations

from tuned import as_a_plain_script  # before torch

# isort: split
import argparse
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import ours
import plain
import torch
from machine import measure, step_floor, synchronize
from torch import Tensor

from atom_distill.api import plan_distillation
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.ops.preprocessing import ChannelNormalization, Preprocessing, ZCAWhitening

_IMAGES_PER_CLASS = 500


@dataclass(frozen=True)
class Case:
    """What is timed."""

    ipc: int
    classes: int
    size: int
    depth: int
    norm: str
    batch_real: int
    device: torch.device


def main() -> None:
    """Run the benchmark and print a table."""
    options = _options()
    device = torch.device(options.device)
    machine = measure(device)
    note(
        f"matrix rate {machine.low_flops / 1e9:.0f} GFLOP/s low, {machine.full_flops / 1e9:.0f} float32; "
        f"bandwidth {machine.bandwidth / 1e9:.1f} GB/s"
    )
    rows = []
    for ipc in options.ipc:
        case = Case(ipc, options.classes, options.size, options.depth, options.norm, options.batch_real, device)
        floor = step_floor(
            machine, classes=case.classes, batch_real=case.batch_real, ipc=ipc, size=case.size, depth=case.depth
        )
        rows.append({"ipc": ipc, **_times(case, options.rounds), "floor_s": floor, **_memory(case)})
    _print(rows)
    if options.json:
        content = {"rows": rows, "case": {**vars(options)}, "record": run_record(), "machine": vars(machine)}
        Path(options.json).write_text(json.dumps(content, indent=2, default=str) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50], help="images per class")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--depth", type=int, default=3, help="blocks of the ConvNet")
    parser.add_argument("--norm", choices=["instance", "batch"], default="instance")
    parser.add_argument("--batch-real", type=int, default=128, help="real images per class")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def _times(case: Case, rounds: int) -> dict[str, float]:
    steps = {"plain_s": plain_step(case), "ours_s": our_step(case)}
    for name, step in steps.items():
        note(f"ipc {case.ipc}: warming up {name.removesuffix('_s')}")
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            synchronize(case.device)
            started = time.perf_counter()
            step()
            synchronize(case.device)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def _memory(case: Case) -> dict[str, float]:
    """Measure each loop in a fresh process, so that neither counts the other's memory."""
    found = {}
    for name in ("plain", "ours"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            found[f"{name}_mb"] = process.submit(_peak_memory, name, case).result()
    return found


def _peak_memory(name: str, case: Case) -> float:
    """Take a few steps in this process, and return its peak memory, MB."""
    step = plain_step(case) if name == "plain" else our_step(case)
    if case.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            step()
        return torch.cuda.max_memory_allocated() / 1e6
    for _ in range(3):
        step()
    return _peak_resident_bytes() / 1e6


def _peak_resident_bytes() -> int:
    """Return the peak of this process alone: getrusage counts what its parent held when it was started."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def plain_step(case: Case) -> Any:
    """Return what takes a step of the plain loop."""
    pixels, labels = _pixels(case)
    real = _whitening(case).apply(pixels).to(case.device)
    by_class = [real[labels == label] for label in range(case.classes)]
    images = _first_images(case).to(case.device).unflatten(0, (case.classes, case.ipc)).requires_grad_()
    new_network = partial(plain.new_network, real.shape[1:], case.classes, depth=case.depth, norm=case.norm)
    losses = plain.distill(by_class, images, new_network, steps=1 << 30, batch_real=case.batch_real)
    return as_a_plain_script()(lambda: next(losses))


def our_step(case: Case) -> Any:
    """Return what takes a step of the package."""
    split = Split(*_pixels(case))
    dataset = ImageDataset("random", split, split, tuple(map(str, range(case.classes))), "random", "random")
    settings = {
        "ipc": case.ipc,
        "norm": case.norm,
        "depth": case.depth,
        "batch_real": case.batch_real,
        "init": "noise",
        "device": str(case.device),
        "compile": "on",
    }
    step = ours.step_function(plan_distillation(dataset, settings), _whitening(case), _first_images(case))
    steps = count()
    return lambda: step(next(steps))


def _pixels(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = case.classes * min(_IMAGES_PER_CLASS, 4 * case.batch_real)
    pixels = torch.randint(0, 256, (images, 3, case.size, case.size), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(images) % case.classes


def _whitening(case: Case) -> Preprocessing:
    """Return a transform that costs as much as a fitted one: ZCA up to 32x32, channel normalization above."""
    values = 3 * case.size**2
    if case.size > 32:
        return ChannelNormalization(torch.full((3,), 0.5), torch.full((3,), 0.25))
    return ZCAWhitening(torch.full((values,), 0.5), 3 * torch.eye(values))


def _first_images(case: Case) -> Tensor:
    shape = (case.classes * case.ipc, 3, case.size, case.size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _print(rows: list[dict[str, float]]) -> None:
    print("| ipc | plain s | ours s | speedup | lower bound s | ours / lower bound | plain MB | ours MB |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['ipc']} | {row['plain_s']:.3f} | {row['ours_s']:.3f} | {row['plain_s'] / row['ours_s']:.1f} "
            f"| {row['floor_s']:.4f} | {row['ours_s'] / row['floor_s']:.1f} "
            f"| {row['plain_mb']:.0f} | {row['ours_mb']:.0f} |"
        )


if __name__ == "__main__":
    main()

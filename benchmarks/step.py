"""Time a distillation step of the plain loop in `examples/atom_in_one_file.py`, and of the package.

    python benchmarks/step.py [--ipc 1 10 50] [--compile on] [--set NAME=VALUE ...] [--rounds 5] [--json FILE]

Both do the same work on random images. They run in one process, taking steps in turn; medians are reported, next to
the lower bound that this machine's matrix rate and memory bandwidth set. Peak memory is measured in a separate process
for each, over a few steps. `--compile reduce-overhead` lets torch.compile capture CUDA graphs, as its mode of that name
does; `--set synthetic_dtype=bfloat16` and the like change settings of the run.
"""

from __future__ import annotations

from tuned import as_a_plain_script  # before torch

# isort: split
import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import ours
import plain
import torch
import yaml
from machine import Machine, measure, step_floor, synchronize
from torch import Tensor

from atom_distill.api import plan_distillation
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.distillation.method import RunPlan
from atom_distill.ops.preprocessing import ChannelNormalization, Preprocessing, ZCAWhitening

_IMAGES_PER_CLASS = 500

Compiled = Literal["on", "off", "reduce-overhead"]
COMPILED: tuple[Compiled, ...] = ("on", "off", "reduce-overhead")


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        compile: how the package's step is compiled; reduce-overhead captures CUDA graphs.
        settings: of the package's run, besides those above.
    """

    ipc: int
    classes: int
    size: int
    depth: int
    norm: str
    batch_real: int
    device: torch.device
    compile: Compiled = "on"
    settings: dict[str, Any] = field(default_factory=dict)

    def floor(self, machine: Machine) -> float:
        """Return the lower bound of its seconds."""
        shape = {"classes": self.classes, "batch_real": self.batch_real, "size": self.size, "depth": self.depth}
        return step_floor(machine, ipc=self.ipc, **shape)


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
        shape = (ipc, options.classes, options.size, options.depth, options.norm, options.batch_real)
        case = Case(*shape, device, options.compile, settings_of(options.set))
        rows.append({"ipc": ipc, **_times(case, options.rounds), "floor_s": case.floor(machine), **_memory(case)})
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
    parser.add_argument("--compile", choices=COMPILED, default="on", help="how the package's step is compiled")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings of the package's run"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def settings_of(items: Sequence[str]) -> dict[str, Any]:
    """Return settings given as name=value; "on" and "off" stay words, as for `compile`."""
    pairs = [(name, value) for name, _, value in (item.partition("=") for item in items)]
    return {name: value if value in ("on", "off") else yaml.safe_load(value) for name, value in pairs}


def _times(case: Case, rounds: int) -> dict[str, float]:
    steps: dict[str, Callable[[], object]] = {"plain_s": plain_step(case), "ours_s": our_step(case)}
    for name, step in steps.items():
        note(f"ipc {case.ipc}: warming up {name.removesuffix('_s')}")
        step()
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds_of(step, case.device))
    return {name: statistics.median(values) for name, values in times.items()}


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of a step, from an idle device to an idle device."""
    synchronize(device)
    started = time.perf_counter()
    step()
    synchronize(device)
    return time.perf_counter() - started


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


def plain_step(case: Case) -> Callable[[], object]:
    """Return what takes a step of the plain loop."""
    pixels, labels = _pixels(case)
    real = _whitening(case).apply(pixels).to(case.device)
    by_class = [real[labels == label] for label in range(case.classes)]
    shape = (case.classes, case.ipc, 3, case.size, case.size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(case.device).requires_grad_()
    new_network = partial(plain.new_network, real.shape[1:], case.classes, depth=case.depth, norm=case.norm)
    losses = plain.distill(by_class, images, new_network, steps=1 << 30, batch_real=case.batch_real)
    return as_a_plain_script()(lambda: next(losses))


def our_step(case: Case) -> Callable[[], object]:
    """Return what takes a step of the package."""
    plan = plan_of(case)
    step = ours.step_function(plan, _whitening(case), first_images(plan))
    steps = count()
    return graphs(case.compile == "reduce-overhead")(lambda: step(next(steps)))


def plan_of(case: Case) -> RunPlan:
    """Return the package's run of a case."""
    split = Split(*_pixels(case))
    drawn = f"random {case.classes} {case.batch_real} {case.size}"  # networks of a pool are kept by it
    dataset = ImageDataset("random", split, split, tuple(map(str, range(case.classes))), "random", drawn)
    settings = {
        "ipc": case.ipc,
        "norm": case.norm,
        "depth": case.depth,
        "batch_real": case.batch_real,
        "init": "noise",
        "device": str(case.device),
        "compile": "off" if case.compile == "off" else "on",
        **case.settings,
    }
    return plan_distillation(dataset, settings)


def first_images(plan: RunPlan) -> Tensor:
    """Return the random initial images of a run: as many pictures as its stored values hold."""
    shape = (int(plan.images_per_class.sum()), *plan.dataset.image_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@contextlib.contextmanager
def graphs(captured: bool) -> Iterator[None]:
    """Let torch.compile capture CUDA graphs of what it compiles here; see its mode "reduce-overhead"."""
    if not captured:
        yield
        return
    from torch._inductor import config

    with config.patch({"triton.cudagraphs": True}):
        torch.compiler.cudagraph_mark_step_begin()  # what the last step returned is not needed any more
        yield


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

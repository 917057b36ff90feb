"""Distill CIFAR-10 from nothing until networks reach an accuracy, and report the seconds and steps it took.

    python benchmarks/time_to_accuracy.py [--set preset=fast ...] [--ipc 1] [--target 33] [--every 25] [--json FILE]

The images of every so many steps are put aside with the time; then they are judged, in order, by networks trained by
the usual protocol on the real test images, until the target is reached. What the commands do once and keep (fetching
the set, fitting the whitening, compiling) happens before the clock starts.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.device import pick_device
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import load_dataset
from atom_distill.distillation.run import run
from atom_distill.evaluation.evaluate import Evaluation

_HELD_OUT = 0.002
"""Share of the training images that the run's own hook for evaluations takes away; they are not looked at."""


@dataclass(frozen=True)
class Snapshot:
    """The images of one moment.

    Attributes:
        step: steps done.
        seconds: since the run began, reading what the cache holds included.
        distilled: the set as it would be stored.
    """

    step: int
    seconds: float
    distilled: DistilledDataset


def main() -> None:
    """Run the benchmark and print the curve."""
    options = _options()
    dataset = load_dataset("cifar10")
    given = {"ipc": options.ipc, "steps": options.steps, "compile": "on", "holdout": _HELD_OUT}
    given |= {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in options.set)}
    _distill(dataset, {**given, "steps": 2}, every=1)  # compiles
    runs = [_distill(dataset, {**given, "seed": seed}, every=options.every) for seed in range(options.seeds)]
    evaluation = Evaluation(repeats=options.networks, device=pick_device("auto"), show_progress=False)
    curve: list[dict[str, float]] = []
    for snapshots in zip(*runs, strict=True):
        point = _judge(snapshots, evaluation, dataset)
        note(f"step {point['step']}: {point['seconds']:.1f} s, {point['accuracy']:.2f} +- {point['std']:.2f} %")
        curve.append(point)
        if point["accuracy"] >= options.target:
            break
    _print(curve, options.target)
    if options.json:
        content = {"target": options.target, "curve": curve, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _distill(dataset: ImageDataset, given: dict[str, Any], every: int) -> list[Snapshot]:
    """Run, and look at the images every so many steps; the clock stands while they are copied."""
    snapshots: list[Snapshot] = []
    clock = 0.0
    going_since = time.perf_counter()

    def put_aside(distilled: DistilledDataset, *_: object) -> float:
        nonlocal clock, going_since
        clock += time.perf_counter() - going_since
        still = replace(distilled, images=distilled.images.clone())
        snapshots.append(Snapshot((len(snapshots) + 1) * every, clock, still))
        going_since = time.perf_counter()
        return 0.0

    run(dataset, {**given, "eval_every": every}, out=None, resume=False, judge=put_aside, show_progress=False)
    return snapshots


def _judge(snapshots: Sequence[Snapshot], evaluation: Evaluation, dataset: ImageDataset) -> dict[str, float]:
    """Give the mean over runs of one moment: of seconds, and of all networks' accuracies."""
    accuracies = [
        accuracy
        for seed, snapshot in enumerate(snapshots)
        for accuracy in replace(evaluation, seed=seed).of_distilled(snapshot.distilled, dataset).runs
    ]
    return {
        "step": snapshots[0].step,
        "seconds": statistics.fmean(snapshot.seconds for snapshot in snapshots),
        "accuracy": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, default=1, help="images per class")
    parser.add_argument("--target", type=float, default=33.0, help="test accuracy, percent")
    parser.add_argument("--every", type=int, default=25, help="steps between looks at the accuracy")
    parser.add_argument("--steps", type=int, default=500, help="steps after which to give up")
    parser.add_argument("--seeds", type=int, default=3, help="runs, each from a seed of its own")
    parser.add_argument("--networks", type=int, default=2, help="networks for each look at each run")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings of the run"
    )
    parser.add_argument("--json", help="file for the curve")
    options = parser.parse_args()
    if not 1 <= options.every <= options.steps:
        parser.error("--every must be from 1 to --steps")
    return options


def _print(curve: list[dict[str, float]], target: float) -> None:
    print("| steps | seconds | accuracy % |")
    print("|---|---|---|")
    for point in curve:
        print(f"| {point['step']} | {point['seconds']:.1f} | {point['accuracy']:.2f} +- {point['std']:.2f} |")
    last = curve[-1]
    reached = last["accuracy"] >= target
    print(f"{target:g} %: " + (f"{last['seconds']:.1f} s, {last['step']} steps" if reached else "not reached"))


if __name__ == "__main__":
    main()

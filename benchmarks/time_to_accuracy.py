"""Distill CIFAR-10 until networks reach an accuracy, and report the seconds and steps it took.

    python benchmarks/time_to_accuracy.py [--set preset=fast ...] [--ipc 1] [--target 33] [--every 25] [--json FILE]

The images are copied every few steps, with the time. Then these sets are evaluated in order, by networks trained with
the usual protocol and tested on the real test images, until the target is reached. What is done once and cached
(fetching the data set, fitting the whitening, compiling) is not timed.
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

import ours
import yaml

from atom_distill.api import plan_distillation
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.device import pick_device
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.load import load_dataset
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.initial_images import initial_images
from atom_distill.distillation.loop import Loop
from atom_distill.distillation.metric_logger import MetricLogger
from atom_distill.distillation.run_state import RunState
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.ops.parameterization import Stored


@dataclass(frozen=True)
class Snapshot:
    """The images after some steps.

    Attributes:
        step: steps done.
        seconds: since the run began, including the reading of what is cached.
        distilled: the set, as the run would return it.
    """

    step: int
    seconds: float
    distilled: DistilledDataset


def main() -> None:
    """Run the benchmark and print the curve."""
    options = _options()
    dataset = load_dataset("cifar10")
    given = {"ipc": options.ipc, "steps": options.steps, "compile": "on"}
    given |= {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in options.set)}
    _distill(dataset, {**given, "steps": 2}, every=1)  # compiles
    runs = [_distill(dataset, {**given, "seed": seed}, every=options.every) for seed in range(options.seeds)]
    evaluation = Evaluation(repeats=options.networks, device=pick_device("auto"), show_progress=False)
    curve: list[dict[str, float]] = []
    for snapshots in zip(*runs, strict=True):
        point = _evaluate(snapshots, evaluation, dataset)
        note(f"step {point['step']}: {point['seconds']:.1f} s, {point['accuracy']:.2f} +- {point['std']:.2f} %")
        curve.append(point)
        if point["accuracy"] >= options.target:
            break
    _print(curve, options.target)
    if options.json:
        content = {"target": options.target, "curve": curve, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _distill(dataset: ImageDataset, given: dict[str, Any], every: int) -> list[Snapshot]:
    """Return the images of every few steps of a run; the clock is stopped while they are copied."""
    snapshots: list[Snapshot] = []
    clock, started = 0.0, time.perf_counter()
    plan = plan_distillation(dataset, given)
    settings = plan.settings
    preprocessing = fit_preprocessing(settings.preprocess, dataset)
    first = initial_images(
        dataset, preprocessing, init=settings.init, per_class=plan.images_per_class, seed=settings.seed
    )

    def copy(stored: Stored) -> float:
        nonlocal clock, started
        clock += time.perf_counter() - started
        distilled = DistilledDataset.from_images(
            images=plan.parameterization.decode(stored),
            labels=class_labels(plan.images_per_class),
            class_names=dataset.class_names,
            preprocessing=preprocessing,
            settings=plan.all_settings,
        )
        snapshots.append(Snapshot((len(snapshots) + 1) * every, clock, distilled))
        started = time.perf_counter()
        return 0.0

    loop = Loop(
        matching=ours.matching_step(plan, preprocessing),
        shard=plan.shard,
        parameterization=plan.parameterization,
        config=settings.model_copy(update={"eval_every": every}),  # when `copy` is called; nothing is held out
        device=plan.execution.device,
        held_out_accuracy=copy,
        show_progress=False,
    )
    with MetricLogger(None, 0) as metrics:
        loop.run(RunState(0, plan.parameterization.encode(first)), metrics)
    return snapshots


def _evaluate(snapshots: Sequence[Snapshot], evaluation: Evaluation, dataset: ImageDataset) -> dict[str, float]:
    """Return the mean over runs after some steps: of seconds, and of the accuracies of all networks."""
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
    parser.add_argument("--every", type=int, default=25, help="steps between evaluated sets")
    parser.add_argument("--steps", type=int, default=500, help="maximum number of steps")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs, each with another seed")
    parser.add_argument("--networks", type=int, default=2, help="networks per set")
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

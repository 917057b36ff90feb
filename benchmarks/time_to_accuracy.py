"""Distill CIFAR-10 for longer and longer until networks reach an accuracy, and report the seconds and steps it took.

    python benchmarks/time_to_accuracy.py [--set preset=fast ipc=1] [--steps 100 125 150] [--target 33] [--json FILE]

Each number of steps is a run of its own, as users start it, so all that depends on the length or happens at the end
counts; then networks are trained on the set by a protocol, and tested on the real test images. The seconds are those of
the run and of training its pool; those of the pool were measured when it was trained, perhaps by an earlier run.
Fetching the data set, fitting the preprocessing and compiling are done before, and evaluating is not timed.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from step import settings_of

import atom_distill as ad
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print the curve."""
    options = _options(arguments)
    dataset = ad.load_dataset(options.dataset)
    settings = {"compile": "on", **settings_of(options.set)}
    ad.distill(dataset, steps=2, show_progress=False, **settings)  # compiles, and trains the pool
    curve: list[dict[str, Any]] = []
    for steps in sorted(options.steps):
        curve.append(_point(dataset, settings, steps, options))
        note(f"{steps} steps: {curve[-1]['seconds']:.1f} s, {curve[-1]['accuracy']:.2f} +- {curve[-1]['std']:.2f} %")
        if curve[-1]["accuracy"] >= options.target:
            break
    _print(curve, options.target)
    if options.json:
        content = {"target": options.target, "curve": curve, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _point(dataset: ImageDataset, settings: dict[str, Any], steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the means over runs of some steps: of seconds, and of the accuracies of all networks."""
    seconds: list[float] = []
    accuracies: list[float] = []
    pools: list[float] = []
    for seed in range(options.seeds):
        distilled = ad.distill(dataset, steps=steps, seed=seed, **settings)
        pool = distilled.record.get("pool_seconds", 0.0)
        if pool is None:
            raise SystemExit("the pool in the cache does not say how long its training took: remove it from the cache")
        pools.append(pool)
        seconds.append(distilled.record["run_seconds"] + pool)
        score = ad.evaluate(distilled, dataset, repeats=options.networks, protocol=options.protocol, seed=seed)
        accuracies += score.runs
    return {
        "steps": steps,
        "seconds": statistics.fmean(seconds),
        "pool_s": statistics.fmean(pools),
        "accuracy": statistics.fmean(accuracies),
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        "accuracies": accuracies,
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--target", type=float, default=33.0, help="test accuracy, percent")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 125, 150, 200], help="lengths of runs")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each length, each with another seed")
    parser.add_argument("--networks", type=int, default=2, help="networks per set")
    parser.add_argument("--protocol", default="dm", help="of their training")
    parser.add_argument(
        "--set", nargs="+", default=["preset=fast", "ipc=1"], metavar="NAME=VALUE", help="settings of the runs"
    )
    parser.add_argument("--json", help="file for the curve")
    return parser.parse_args(arguments)


def _print(curve: list[dict[str, Any]], target: float) -> None:
    print("| steps | seconds | accuracy % |")
    print("|---|---|---|")
    for point in curve:
        print(f"| {point['steps']} | {point['seconds']:.1f} | {point['accuracy']:.2f} +- {point['std']:.2f} |")
    last = curve[-1]
    reached = last["accuracy"] >= target
    print(f"{target:g} %: " + (f"{last['seconds']:.1f} s, {last['steps']} steps" if reached else "not reached"))


if __name__ == "__main__":
    main()

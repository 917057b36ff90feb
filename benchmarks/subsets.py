"""Distill for the same time with all or a part of the images, or of the classes, in each step, and score the sets.

    python benchmarks/subsets.py [--ipc 10 50] [--batch-synthetic 0 5 2] [--batch-classes 0 5] [--seconds 120]
        [--set preset=fast ...] [--networks 2] [--protocol quick] [--dataset cifar10] [--json FILE]

Steps that match a part of the set are shorter, so there are more of them in the same time; 0 takes all. A step is
timed on random images first, and decides the number of steps of the run. Scores are those on training images that are
held out: what is learned here may decide settings, which the test split must not.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from step import Case, our_step, seconds_of, settings_of

import atom_distill as ad
from atom_distill.api import plan_distillation
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import hold_out
from atom_distill.models.convnet import default_depth

_HELD_OUT = 0.1
"""Share of the training images."""
_TIMED = 5
"""Steps, after two that compile."""


def main() -> None:
    """Run the benchmark and print a table."""
    options = _options()
    if options.set and {"batch_synthetic", "batch_classes"} & {each.partition("=")[0] for each in options.set}:
        raise SystemExit("give --batch-synthetic and --batch-classes as options of their own, not by --set")
    dataset = hold_out(ad.load_dataset(options.dataset), _HELD_OUT, seed=0)
    parts = list(itertools.product(options.batch_synthetic, options.batch_classes))
    rows = [_row(dataset, ipc, *part, options) for ipc in options.ipc for part in parts]
    print(f"| ipc | images a class in a step | classes | s a step | steps in {options.seconds:g} s | accuracy % |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['ipc']} | {row['batch_synthetic'] or row['ipc']} "
            f"| {row['batch_classes'] or dataset.num_classes} | {row['step_s']:.3f} | {row['steps']} "
            f"| {row['mean']:.2f} +- {row['std']:.2f} |"
        )
    if options.json:
        content = {"rows": rows, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _row(dataset: ImageDataset, ipc: int, images: int, classes: int, options: argparse.Namespace) -> dict[str, Any]:
    part = {"batch_synthetic": images, "batch_classes": classes if classes < dataset.num_classes else 0}
    settings = {**settings_of(options.set), **part}
    second = _step_seconds(dataset, ipc, settings)
    steps = max(1, round(options.seconds / second))
    what = f"{images or ipc} images of each of {classes or dataset.num_classes} classes in a step"
    note(f"ipc {ipc}, {what}: {second:.3f} s a step, {steps} steps")
    distilled = ad.distill(dataset, ipc, steps=steps, compile="on", **settings)
    score = ad.evaluate(distilled, dataset, repeats=options.networks, protocol=options.protocol)
    row = {"ipc": ipc, **part, "step_s": second, "steps": steps, "protocol": score.protocol.name}
    return {**row, "runs": score.runs, "mean": score.mean, "std": score.std}


def _step_seconds(dataset: ImageDataset, ipc: int, settings: dict[str, Any]) -> float:
    """Return the median seconds of a step, compiled, on random images of the data set's shape."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    case = Case(
        ipc=ipc,
        classes=dataset.num_classes,
        size=dataset.image_shape[1],
        depth=default_depth(dataset.image_shape[1]),
        norm="instance",
        batch_real=plan_distillation(dataset, {"ipc": ipc, **settings}).settings.batch_real,
        device=device,
        settings=settings,
    )
    step = our_step(case)
    step()
    step()
    return statistics.median(seconds_of(step, device) for _ in range(_TIMED))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, nargs="+", default=[10], help="images per class")
    parser.add_argument("--batch-synthetic", type=int, nargs="+", default=[0, 5, 2], help="in a step; 0 for all")
    parser.add_argument("--batch-classes", type=int, nargs="+", default=[0], help="in a step; 0 for all")
    parser.add_argument("--seconds", type=float, default=120, help="of steps, for each run")
    parser.add_argument("--set", nargs="+", default=["preset=fast"], metavar="NAME=VALUE", help="settings of the runs")
    parser.add_argument("--networks", type=int, default=2, help="networks per set")
    parser.add_argument("--protocol", default="quick", help="of their training")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


if __name__ == "__main__":
    main()

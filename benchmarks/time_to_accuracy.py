"""Distil CIFAR-10 from nothing until networks reach an accuracy, and report the seconds and steps it took.

    python benchmarks/time_to_accuracy.py [--ipc 1] [--target 33] [--every 50] [--set batch_real=32 ...] [--json FILE]

Accuracy is that of networks trained by the usual protocol on the real test images, with the clock stopped. What
the commands do once and keep (fetching the set, fitting the whitening, compiling) happens before the clock starts,
unless --cold asks for it to count.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import json
import time
from pathlib import Path
from typing import Any

import yaml

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.device import pick_device
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.config.distill import DistillConfig
from atom_distill.config.protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import load_dataset
from atom_distill.distillation.run import run
from atom_distill.evaluation.evaluate import Evaluation

_HELD_OUT = 0.002
"""Share of the training images that the run's own hook for evaluations takes away; they are not looked at."""


class _Reached(Exception):  # noqa: N818 (not an error)
    """The target is reached; there is nothing more to find out."""


class Watch:
    """Judges the images as the run goes on, and keeps the time that this takes off the clock.

    Args:
        dataset: whose test images count.
        evaluation: how.
        every: steps between judgements.
        target: accuracy in percent at which to stop.
    """

    def __init__(self, dataset: ImageDataset, evaluation: Evaluation, every: int, target: float) -> None:
        self.curve: list[dict[str, float]] = []
        self._dataset, self._evaluation, self._every, self._target = dataset, evaluation, every, target
        self._started = time.perf_counter()
        self._off = 0.0

    def judge(self, distilled: DistilledDataset, _held_out: ImageDataset, _config: DistillConfig) -> float:
        """Score one state of the images."""
        stopped = time.perf_counter()
        score = self._evaluation.of_distilled(distilled, self._dataset)
        point = {
            "step": (len(self.curve) + 1) * self._every,
            "seconds": stopped - self._started - self._off,
            "accuracy": score.mean,
            "std": score.std,
        }
        self.curve.append(point)
        note(f"step {point['step']}: {point['seconds']:.1f} s, {score.mean:.2f} +- {score.std:.2f} %")
        if score.mean >= self._target:
            raise _Reached
        self._off += time.perf_counter() - stopped
        return score.mean


def main() -> None:
    """Run the benchmark and print the curve."""
    options = _options()
    dataset = load_dataset("cifar10")
    given = {"ipc": options.ipc, "steps": options.steps, "eval_every": options.every, "holdout": _HELD_OUT}
    given |= {name: yaml.safe_load(value) for name, _, value in (item.partition("=") for item in options.set)}
    evaluation = Evaluation(
        repeats=options.networks,
        protocol=PROTOCOLS.get("dm"),
        seed=options.seed,
        device=pick_device("auto"),
        show_progress=False,
    )
    if not options.cold:
        short = {**given, "steps": 2, "eval_every": 0, "compile": "on"}
        run(dataset, short, out=None, resume=False, judge=lambda *_: 0.0, show_progress=False)
    watch = Watch(dataset, evaluation, options.every, options.target)
    reached = False
    try:
        run(dataset, given, out=None, resume=False, judge=watch.judge, show_progress=False)
    except _Reached:
        reached = True
    _print(watch.curve, options, reached=reached)
    if options.json:
        content = {"reached": reached, "curve": watch.curve, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, default=1, help="images per class")
    parser.add_argument("--target", type=float, default=33.0, help="test accuracy, percent")
    parser.add_argument("--every", type=int, default=50, help="steps between looks at the accuracy")
    parser.add_argument("--steps", type=int, default=1000, help="steps after which to give up")
    parser.add_argument("--networks", type=int, default=3, help="networks per look")
    parser.add_argument("--seed", type=int, default=0, help="of the evaluations")
    parser.add_argument("--cold", action="store_true", help="count what is done once, too")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the run")
    parser.add_argument("--json", help="file for the curve")
    return parser.parse_args()


def _print(curve: list[dict[str, Any]], options: argparse.Namespace, *, reached: bool) -> None:
    print("| steps | seconds | accuracy % |")
    print("|---|---|---|")
    for point in curve:
        print(f"| {point['step']} | {point['seconds']:.1f} | {point['accuracy']:.2f} +- {point['std']:.2f} |")
    last = curve[-1]
    outcome = f"after {last['seconds']:.1f} s and {last['step']} steps" if reached else "not reached"
    print(f"{options.target:g} %: {outcome}")


if __name__ == "__main__":
    main()

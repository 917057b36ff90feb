"""Time an evaluation as published scripts compute it (networks in turn, eager, image by image), and the package's.

    python benchmarks/evaluation.py [--ipc 1 10 50 80] [--networks 5] [--epochs 50] [--json FILE]

Both train on random real CIFAR-10 images, for fewer than the usual 1000 epochs (above 10 images per class for fewer
still, so that no row takes longer than that of 10), and test on the 10,000 test images. They run in turn, for several
rounds; median times are reported, with the accuracies of both, next to the lower bound that this machine's matrix rate
and memory bandwidth set. With `--workers`, ours spreads the networks over worker processes, as `atom evaluate` does in
a long evaluation; some seconds of starting them are counted.
"""

from __future__ import annotations

from tuned import as_a_plain_script  # before torch

# isort: split
import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import plain
import torch
from machine import Machine, evaluation_floor, measure
from random_images import random_set

from atom_distill.base.record import run_record
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import load_dataset
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.processes.ranks import join
from atom_distill.training import training_execution
from atom_distill.training.training_execution import ExecutionOptions


def main() -> None:
    """Run the benchmark and print a table."""
    options = _options()
    training_execution._WORKERS_FROM = 0  # as with all 1000 epochs
    dataset = load_dataset("cifar10")
    machine = measure(torch.device(options.device))
    rows = [_row(dataset, ipc, machine, options) for ipc in options.ipc]
    print(
        "| ipc | epochs | plain s | ours s | speedup | lower bound s | ours / lower bound | plain accuracy % | ours % |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['ipc']} | {row['epochs']} | {row['plain_s']:.1f} | {row['ours_s']:.1f} "
            f"| {row['plain_s'] / row['ours_s']:.1f} | {row['floor_s']:.1f} | {row['ours_s'] / row['floor_s']:.1f} "
            f"| {row['plain_accuracy']:.1f} | {row['ours_accuracy']:.1f} |"
        )
    if options.json:
        content = {"rows": rows, "case": vars(options), "record": run_record(), "machine": vars(machine)}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50, 80], help="images per class")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=50, help="up to 10 images per class; above, for as many images")
    parser.add_argument("--workers", action="store_true", help="spread our networks over worker processes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def _row(dataset: ImageDataset, ipc: int, machine: Machine, options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    epochs = max(2, options.epochs * 10 // max(ipc, 10))
    tiny = random_set(dataset, ipc, "zca")
    images, labels, preprocessing = tiny.images, tiny.labels, tiny.preprocessing
    evaluation = Evaluation(
        repeats=options.networks,
        protocol=PROTOCOLS.get("dm").changed(epochs=epochs),
        device=device,
        ranks=join(use_workers=options.workers),
        execution=ExecutionOptions(compile="on"),  # as with all 1000 epochs
        show_progress=False,
    )
    warm = replace(evaluation, repeats=1, protocol=PROTOCOLS.get("dm").changed(epochs=2))
    warm.of_distilled(tiny, dataset)  # compiles, which is not timed
    test_images = preprocessing.apply(dataset.test.images).to(device)

    @as_a_plain_script()
    def plainly() -> list[float]:
        return plain.evaluate(
            images.to(device),
            labels.to(device),
            test_images,
            dataset.test.labels.to(device),
            epochs=epochs,
            networks=options.networks,
        )

    ways: dict[str, Callable[[], list[float]]] = {
        "plain": plainly,
        "ours": lambda: list(evaluation.of_distilled(tiny, dataset).runs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    accuracies: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            accuracies[name] += way()
            seconds[name].append(time.perf_counter() - started)
    medians = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    means = {f"{name}_accuracy": statistics.fmean(values) for name, values in accuracies.items()}
    floor = evaluation_floor(
        machine,
        trained=options.networks * epochs * len(images),
        tested=options.networks * len(dataset.test),
        size=dataset.image_shape[1],
        depth=3,
    )
    return {"ipc": ipc, "epochs": epochs, **medians, **means, "floor_s": floor}


if __name__ == "__main__":
    main()

"""Compare ways to sets of several sizes: a run for each, the first images of one run, and a nested run.

    python benchmarks/nested.py [--dataset cifar10] [--sizes 1 10 50] [--steps 1000] [--set NAME=VALUE ...]
        [--networks 2] [--runs FOLDER] [--json FILE]

Of the largest plain run, the first images are taken in the order of the run, which is random, and in that of YOCO
(arXiv 2310.14019): balanced, and first what a network learns early. All sets are scored by one protocol. Runs and
scores are kept: the same command continues.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kept import folder_name, run_in, scored
from step import settings_of
from torch import Tensor

import atom_distill as ad
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.record import run_record
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.training.networks import OneNetwork
from atom_distill.training.train import train
from atom_distill.training.training_execution import ExecutionOptions
from atom_distill.training.training_images import StoredTensors

_EARLY_EPOCHS = 10
"""Of the networks whose errors order the images."""
_BATCH = 256


def main() -> None:
    """Distill, score, and print a table."""
    options = _options()
    dataset = ad.load_dataset(options.dataset)
    protocol = PROTOCOLS.get("dm").changed(epochs=options.epochs)
    largest = max(options.sizes)
    plain, nested = _run(dataset, largest, options), _run(dataset, largest, options, nested=True)
    by_ease = ordered_by_ease(plain, protocol)
    ways: dict[str, Callable[[int], DistilledDataset]] = {
        "a run for each size": lambda size: _run(dataset, size, options),
        "first images of a run": lambda _: plain,
        "first images of a run, YOCO's order": lambda _: by_ease,
        "nested run": lambda _: nested,
    }
    rows = []
    for way, of in ways.items():
        for size in options.sizes:
            tiny = of(size)
            score = scored(tiny, dataset, first=size, protocol=protocol, networks=options.networks)
            rows.append({"way": way, "size": size, "run_s": tiny.record.get("run_seconds"), **score})
    _print(rows, options.sizes)
    if options.json:
        content = {"rows": rows, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2, default=str) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 50], help="images per class")
    parser.add_argument("--steps", type=int, default=1000, help="of each run")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings of runs")
    parser.add_argument("--networks", type=int, default=2, help="for each score")
    parser.add_argument("--epochs", type=int, default=1000, help="of each network")
    parser.add_argument("--runs", type=Path, default=Path("runs/nested"), help="folder of the runs")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def _run(dataset: ImageDataset, ipc: int, options: argparse.Namespace, *, nested: bool = False) -> DistilledDataset:
    """Return the set of a run, continued or made now."""
    parts = "nested" if nested else "plain", f"{ipc}", f"{options.steps}-steps"
    out = options.runs / folder_name(options.dataset, *parts, settings=options.set)
    settings = {"ipc": ipc, "steps": options.steps, "nested": nested, **settings_of(options.set)}
    return run_in(out, dataset, **settings)


def ordered_by_ease(distilled: DistilledDataset, protocol: TrainingProtocol) -> DistilledDataset:
    """Return the set, in memory, with the images of each class ordered by how early a network learns them.

    An image's score is the squared distance of its predicted probabilities from its label, the mean over the first
    epochs of a network that is trained on the set; the smallest come first.
    """
    errors = _early_errors(distilled, protocol).unflatten(0, (len(distilled.row_labels), -1)).mean(1)
    order = torch.cat([
        rows[errors[rows].argsort(stable=True)]
        for rows in ((distilled.row_labels == label).nonzero().flatten() for label in range(len(distilled.class_names)))
    ])  # fmt: skip
    stored = {name: values[order] for name, values in distilled.stored.items()}
    return replace(distilled, stored=stored, row_labels=distilled.row_labels[order], scores=[], folder=None)


def _early_errors(distilled: DistilledDataset, protocol: TrainingProtocol) -> Tensor:
    """Return the score of each image, float32 [M]."""
    device = torch.device("cpu")
    execution = ExecutionOptions(compile="off").plan(device, pixels=0.0, repeats=1)
    network = OneNetwork(ad.build_model("convnet", distilled.image_shape, len(distilled.class_names)), execution)
    wanted = F.one_hot(distilled.labels, len(distilled.class_names)).float()
    found: list[Tensor] = []

    def after_epoch() -> None:
        logits = torch.cat([network.logits(part) for part in distilled.images.split(_BATCH)])
        found.append((logits.softmax(1) - wanted).square().sum(1))

    images = StoredTensors(distilled.images, distilled.targets, device)
    early = protocol.changed(epochs=_EARLY_EPOCHS, schedule="constant")
    train(network, [images], early, seed=0, repeats=[0], on_epoch=after_epoch)
    return torch.stack(found).mean(0)


def _print(rows: list[dict[str, Any]], sizes: list[int]) -> None:
    print(f"| | {' | '.join(map(str, sizes))} |\n|---|{'---|' * len(sizes)}")
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [f"{row['mean']:.1f} +- {row['std']:.1f}" for row in rows if row["way"] == way]
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

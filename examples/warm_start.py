"""Train networks on a distilled set first and then on a few real images, and measure what the first part is worth.

    python examples/warm_start.py cifar10-3072

Of each class, 1 % of the real images are taken. Networks are trained for as many updates of the weights on

- `warm`: the distilled set for half of the updates, then the real images for the other half;
- `real`: the real images only;
- `distilled`: the distilled set only;

and tested on the test split. Each network has its own draw of real images and of initial weights, which all three
share, so that they are compared in pairs. One learning-rate schedule spans all updates of a training, the two halves
included. Measurements are kept in the file of results: the same command continues a stopped one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import atom_distill as ad
from atom_distill.artifact.scores import Runs
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.base.files import write_json
from atom_distill.base.markdown import table as markdown_table
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.record import run_record
from atom_distill.base.seeding import derive_seed
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.original import request_of
from atom_distill.data.subset import random_subset
from atom_distill.training.networks import networks_for
from atom_distill.training.train import TrainingState, accuracies, train
from atom_distill.training.training_images import Pixels, StoredTensors, TrainingImages

SUBJECTS = ("warm", "real", "distilled")
PROTOCOL = PROTOCOLS.get("quick")
"""How networks are trained: SGD, learning rate 0.05 falling by a cosine, batches of 256, DSA."""


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and for how long.

    Attributes:
        set: a set of `atom sets`, or a run folder.
        share: of the real images of each class that are trained on.
        updates: of the weights, in every training.
        repeats: networks per subject.
        width: channels of the networks; None is the architecture's own.
        seed: of every random draw.
    """

    set: str
    share: float
    updates: int
    repeats: int
    width: int | None
    seed: int

    def __post_init__(self) -> None:
        if self.updates < 2:
            raise ConfigError(f"`updates` must be at least 2, one for each part of a warm start, got {self.updates}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"`share` must be above 0 and at most 1, got {self.share}")


@dataclass(frozen=True)
class Part:
    """A part of a training: what on, and for how many updates of the weights."""

    images: TrainingImages
    updates: int

    @property
    def epochs(self) -> int:
        """Passes over the images, the last of which may be incomplete."""
        return math.ceil(self.updates / math.ceil(len(self.images) / PROTOCOL.batch_size))


class Trainer:
    """Trains and tests the networks of a plan.

    Args:
        plan: what is trained.
        device: where.
    """

    def __init__(self, plan: Plan, device: str) -> None:
        is_run = Path(plan.set).is_dir()
        tiny = ad.DistilledDataset.load(plan.set) if is_run else ad.load_distilled(plan.set)
        self.plan, self.device, self.preprocessing = plan, pick_device(device), tiny.preprocessing
        self.dataset = ad.load_dataset(**request_of(tiny.dataset))
        self.distilled = StoredTensors(tiny.images, tiny.targets, self.device)

    def real(self, number: int) -> Pixels:
        """Return the real images that a network is trained on."""
        per_class = (self.plan.share * self.dataset.class_sizes()).round().long().clamp_min(1)
        chosen = random_subset(self.dataset, per_class, derive_seed(self.plan.seed, "real images", number))
        return Pixels(self.dataset.train.subset(chosen), self.preprocessing, self.device)

    def parts(self, subject: str, number: int) -> list[Part]:
        """Return what a network is trained on, one after the other."""
        updates, first = self.plan.updates, self.plan.updates // 2
        if subject == "warm":
            return [Part(self.distilled, first), Part(self.real(number), updates - first)]
        return [Part(self.distilled if subject == "distilled" else self.real(number), updates)]

    def accuracy(self, subject: str, number: int) -> float:
        """Return the test accuracy of a trained network, percent."""
        parts, shape = self.parts(subject, number), self.dataset.image_shape
        protocol = PROTOCOL.changed(epochs=sum(part.epochs for part in parts))
        network = ad.build_model("convnet", shape, self.dataset.num_classes, NetworkShape(width=self.plan.width))
        pixels = float(self.plan.updates * PROTOCOL.batch_size * math.prod(shape[1:]))
        execution = ad.ExecutionOptions().plan(self.device, pixels=pixels, repeats=1)
        networks, state = networks_for(network, execution, 1), TrainingState()
        for part in parts:  # the state carries weights, momentum and the place in the schedule to the next one
            train(
                networks,
                [part.images],
                protocol,
                seed=self.plan.seed,
                repeats=[number],
                on_epoch=lambda: None,
                updates=part.updates,
                state=state,
            )
        return accuracies(networks, Pixels(self.dataset.test, self.preprocessing, self.device, execution.dtype))[0]


def measure(plan: Plan, device: str, out: Path) -> dict[str, Any]:
    """Return plan, record, and `measured`: accuracy and seconds by subject and network, each written when it is known.

    What the file holds already is not measured again.

    Raises:
        ConfigError: the file holds results of another plan.
    """
    results: dict[str, Any] = {"plan": asdict(plan), "measured": {}, "record": run_record()}
    if out.is_file():
        results = json.loads(out.read_text(encoding="utf-8"))
        if results.get("plan") != asdict(plan):
            raise ConfigError(f"{out} holds results of another plan: give another --out")
    measured = results["measured"]
    trainer = Trainer(plan, device)
    for number in range(plan.repeats):
        for subject in SUBJECTS:
            found = measured.setdefault(subject, {})
            if f"network {number}" in found:
                continue
            started = time.perf_counter()
            accuracy = trainer.accuracy(subject, number)
            found[f"network {number}"] = {"accuracy": accuracy, "seconds": time.perf_counter() - started}
            write_json(out, results)
            print(f"{subject}, network {number}: {accuracy:.1f} %", file=sys.stderr)
    return results


def compare(measured: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """Return accuracy and gain over `real` of each subject, a row of the table; a gain is a mean of pairs."""
    rows = []
    for subject, found in measured.items():
        pairs = [(one["accuracy"], measured["real"][name]["accuracy"]) for name, one in found.items()]
        accuracy = Runs(runs=tuple(own for own, _ in pairs))
        gain = Runs(runs=tuple(own - real for own, real in pairs))
        rows.append(
            {
                "subject": subject,
                "networks": len(pairs),
                "accuracy": accuracy.mean,
                "accuracy_std": accuracy.std,
                "gain": gain.mean,
                "gain_std": gain.std,
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the comparison as a Markdown table."""
    lines = []
    for row in rows:
        gain = "-" if row["subject"] == "real" else f"{row['gain']:+.1f} +- {row['gain_std']:.1f}"
        accuracy = f"{row['accuracy']:.1f} +- {row['accuracy_std']:.1f}"
        lines.append([row["subject"], str(row["networks"]), accuracy, gain])
    return markdown_table(["trained on", "networks", "test accuracy, %", "more than `real`, points"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, print; return 0, or 2 where something is for the user to correct."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", help="a set that `atom sets` lists, or a run folder")
    parser.add_argument("--share", type=float, default=0.01, help="of the real images of each class")
    parser.add_argument("--updates", type=int, default=1200, help="of the weights, in every training")
    parser.add_argument("--repeats", type=int, default=5, help="networks of each kind")
    parser.add_argument("--width", type=int, help="channels of the networks; default: 128")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ..., or auto")
    parser.add_argument("--out", type=Path, default=Path("runs/warm-start.json"), help="file of results")
    options = vars(parser.parse_args(arguments))
    device, out = options.pop("device"), options.pop("out")
    try:
        results = measure(Plan(**options), device, out)
    except ad.AtomError as error:
        print(f"warm_start: {error}", file=sys.stderr)
        return 2
    rows = compare(results["measured"])
    write_json(out, {**results, "comparison": rows})
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

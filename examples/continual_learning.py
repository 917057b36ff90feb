"""Learn classes task by task from a memory of distilled images, and compare it with memories of real images.

    python examples/continual_learning.py cifar100

The classes come in tasks, in an order drawn at random. Of each task only what a memory stores is kept. After each task
a network is trained from scratch on the memory alone, and tested on all classes so far. The memories are

- `distilled`: each task, distilled when it comes to so many bytes per class;
- `random`: random real images, stored in the same form in the same bytes;
- `uncompressed`: random real images of 8 bits a value, as many as the bytes hold (if they hold one);
- `none`: all real images of the newest task, and nothing of earlier ones: the lower bound;
- `all`: all real images of all tasks so far: the upper bound.

Memories and measurements are kept in files: the same command continues a stopped one.

Source of the protocol: GDumb (Prabhu et al., ECCV 2020), with a memory of constant size per class, as DM (Zhao & Bilen,
WACV 2023, arXiv 2110.04181) tests distilled sets.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import atom_distill as ad
from atom_distill.artifact.training_set import TrainingSet
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.base.files import write_json
from atom_distill.base.markdown import table as markdown_table
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.record import run_record
from atom_distill.base.seeding import generator
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.evaluation.evaluate import Evaluation

MEMORIES = ("distilled", "random", "uncompressed", "none", "all")
PROTOCOL = PROTOCOLS.get("quick")
"""How networks are trained: SGD, learning rate 0.05 falling by a cosine, batches of 256, DSA."""


@dataclass(frozen=True)
class Plan:
    """What is learned, from what, and for how long.

    Attributes:
        dataset: name or path of a data set.
        tasks: parts into which its classes are split.
        bytes: of the memory (per class).
        preset: of the distillation.
        steps: of the distillation of a task; None is the preset's number.
        epochs: on a memory.
        whole_epochs: on all real images of one or more tasks.
        repeats: networks after each task.
        width: channels of all networks; None is the architecture's own.
        seed: of every random draw, the order of the classes included.
    """

    dataset: str
    tasks: int
    bytes: int
    preset: str
    steps: int | None
    epochs: int
    whole_epochs: int
    repeats: int
    width: int | None
    seed: int


def tasks_of(class_names: Sequence[str], tasks: int, seed: int) -> list[list[str]]:
    """Return the classes of each task, in random order.

    Raises:
        ConfigError: a task would have fewer than two classes.
    """
    if not 1 <= tasks <= len(class_names) // 2:
        raise ConfigError(
            f"`tasks={tasks}` is out of range: of {len(class_names)} classes, 1 to {len(class_names) // 2} tasks of at "
            "least 2 classes can be made"
        )
    order = torch.randperm(len(class_names), generator=generator(seed, "class order"))
    return [[class_names[label] for label in part.tolist()] for part in order.tensor_split(tasks)]


def joined(sets: Sequence[ad.DistilledDataset]) -> TrainingSet:
    """Return the images of all tasks in the model space of the first, labeled from 0 in the order of the tasks."""
    preprocessing = sets[0].preprocessing
    images = [preprocessing.apply(255 * task.preprocessing.invert(task.images)) for task in sets]
    first_labels = accumulate((len(task.class_names) for task in sets[:-1]), initial=0)
    labels = [task.labels + first for task, first in zip(sets, first_labels, strict=True)]
    return TrainingSet(torch.cat(images), torch.cat(labels), None)


def newest_only(seen: ad.ImageDataset, classes: int) -> ad.ImageDataset:
    """Return a data set with the training images of its last classes only; all classes are tested."""
    newest = (seen.train.labels >= seen.num_classes - classes).nonzero().flatten()
    # Under a fingerprint of its own: networks of an interrupted evaluation are found by it.
    return replace(seen, train=seen.train.subset(newest), fingerprint=f"{seen.fingerprint}-newest-{classes}")


class Learner:
    """Meets the tasks of a plan one after the other.

    Args:
        plan: what is learned.
        runs: folder of the memories.
        device: where images are distilled and networks trained.
    """

    def __init__(self, plan: Plan, runs: Path, device: str) -> None:
        whole = ad.load_dataset(plan.dataset)
        self.plan, self.runs, self.device = plan, runs, device
        self.tasks = tasks_of(whole.class_names, plan.tasks, plan.seed)
        self.bytes_per_image = math.prod(whole.image_shape)
        self._sets: dict[tuple[str, int], ad.DistilledDataset] = {}

    def memories(self) -> list[str]:
        """Return the memories that can be compared."""
        return [name for name in MEMORIES if name != "uncompressed" or self.plan.bytes >= self.bytes_per_image]

    def load(self, *tasks: Sequence[str]) -> ad.ImageDataset:
        """Return the real images of some tasks, labeled from 0 in their order."""
        return ad.load_dataset(self.plan.dataset, classes=[name for task in tasks for name in task])

    def stored(self, memory: str, number: int) -> ad.DistilledDataset:
        """Return what a memory keeps of a task; made from its images alone, or read where it is made already."""
        plan = self.plan
        if (memory, number) not in self._sets:
            settings: dict[str, Any] = {"bytes": plan.bytes, "seed": plan.seed}
            if memory == "distilled":
                settings |= {"preset": plan.preset, "steps": plan.steps, "width": plan.width}
            else:
                settings |= {"method": "random"}
            given = [f"{name}-{value}" for name, value in settings.items() if value is not None]
            out = self.runs / "-".join([memory, *given, f"task-{number + 1}-of-{plan.tasks}"])
            settings["device"] = self.device
            self._sets[memory, number] = ad.distill(self.load(self.tasks[number]), out=out, resume=True, **settings)
        return self._sets[memory, number]

    def evaluation(self, epochs: int) -> Evaluation:
        """Return how networks are trained and tested after a task."""
        plan = self.plan
        return Evaluation(
            repeats=plan.repeats,
            protocol=PROTOCOL.changed(epochs=epochs),
            seed=plan.seed,
            shape=NetworkShape(width=plan.width),
            device=pick_device(self.device),
        )

    def after(self, memory: str, count: int) -> dict[str, Any]:
        """Return what a memory leads to after `count` tasks: its bytes, and the test accuracy on all their classes."""
        plan, seen = self.plan, self.load(*self.tasks[:count])
        made_in = 0.0
        if memory in ("distilled", "random"):
            sets = [self.stored(memory, number) for number in range(count)]
            size = sum(task.stored_bytes for task in sets)
            made_in = sum(task.record["run_seconds"] + (task.record.get("pool_seconds") or 0) for task in sets)
            score = self.evaluation(plan.epochs).of_images(joined(sets), sets[0].preprocessing, seen)
        elif memory == "uncompressed":
            ipc = plan.bytes // self.bytes_per_image
            size = ipc * seen.num_classes * self.bytes_per_image
            score = self.evaluation(plan.epochs).of_random(seen, ipc, "normalize")
        else:
            real = seen if memory == "all" else newest_only(seen, len(self.tasks[count - 1]))
            size = len(seen.train) * self.bytes_per_image if memory == "all" else 0
            score = self.evaluation(plan.whole_epochs).of_whole(real, "normalize")
        facts = {"classes": seen.num_classes, "bytes": size, "images": score.images, "made_in": made_in}
        return {**facts, "mean": score.mean, "runs": score.runs, "seconds": score.seconds}


def measure(plan: Plan, runs: Path, device: str, out: Path) -> dict[str, Any]:
    """Return plan, record, and `measured`: what was found by memory and task, each written when it is known.

    What the file holds already is not measured again.

    Raises:
        ConfigError: the file holds results of another plan.
    """
    learner = Learner(plan, runs, device)
    results: dict[str, Any] = {"plan": asdict(plan), "tasks": learner.tasks, "measured": {}, "record": run_record()}
    if out.is_file():
        results = json.loads(out.read_text(encoding="utf-8"))
        if results.get("plan") != asdict(plan):
            raise ConfigError(f"{out} holds results of another plan: give another --out")
    measured = results["measured"]
    for memory in learner.memories():
        found = measured.setdefault(memory, {})
        for count in range(1, plan.tasks + 1):
            if f"task {count}" in found:
                continue
            found[f"task {count}"] = learner.after(memory, count)
            write_json(out, results)
            print(f"{memory}, task {count}: {found[f'task {count}']['mean']:.1f} %", file=sys.stderr)
    return results


def compare(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return for each memory the accuracies after all tasks, and their mean: a row of the table."""
    rows = []
    for memory, found in measured.items():
        steps = list(found.values())
        last = steps[-1]
        rows.append(
            {
                "memory": memory,
                "bytes_per_class": last["bytes"] / last["classes"],
                "made_in": last["made_in"],
                "classes": [step["classes"] for step in steps],
                "accuracies": [step["mean"] for step in steps],
                "average": fmean(step["mean"] for step in steps),
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the comparison as a Markdown table: test accuracies (%) by the number of classes so far."""
    heads = ["memory", "bytes per class", "made in", *(f"{count} classes" for count in rows[0]["classes"]), "average"]
    lines = []
    for row in rows:
        facts = [row["memory"], f"{row['bytes_per_class']:,.0f}", f"{row['made_in']:,.0f} s"]
        lines.append(facts + [f"{accuracy:.1f}" for accuracy in [*row["accuracies"], row["average"]]])
    return markdown_table(heads, lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, print; return 0, or 2 where something is for the user to correct."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="cifar100", help="name or path; default: cifar100")
    parser.add_argument("--tasks", type=int, default=10, help="parts into which the classes are split")
    parser.add_argument("--bytes", type=int, default=3072, help="of the memory, per class")
    parser.add_argument("--preset", default="best", help="of the distillation: paper, fast or best")
    parser.add_argument("--steps", type=int, help="of the distillation of a task; default: the preset's")
    parser.add_argument("--epochs", type=int, default=100, help="on a memory")
    parser.add_argument("--whole-epochs", type=int, default=20, help="on all real images of one or more tasks")
    parser.add_argument("--repeats", type=int, default=1, help="networks after each task")
    parser.add_argument("--width", type=int, help="channels of all networks; default: 128")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw, the order of the classes included")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ..., or auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/continual-learning"), help="folder of the memories")
    parser.add_argument("--out", type=Path, default=Path("runs/continual-learning.json"), help="file of results")
    options = vars(parser.parse_args(arguments))
    runs, device, out = options.pop("runs"), options.pop("device"), options.pop("out")
    try:
        results = measure(Plan(**options), runs, device, out)
    except ad.AtomError as error:
        print(f"continual_learning: {error}", file=sys.stderr)
        return 2
    rows = compare(results["measured"])
    write_json(out, {**results, "comparison": rows})
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

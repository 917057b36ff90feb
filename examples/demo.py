"""Distill digits, then train networks on a CIFAR-10 set of 26 KB that comes with the package: `make demo`.

    python examples/demo.py [digits|cifar10]

The default, digits, takes less than three minutes on two cores and needs no network: `examples/cifar10/` has the images
that are needed. With cifar10, CIFAR-10 itself is distilled to one image per class, in about ten minutes. What is
distilled stays in `demo/`, so that a second call only evaluates; remove the folder to start afresh.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import atom_distill as ad
from atom_distill.artifact.bundled import bundled_folder
from atom_distill.artifact.training_set import TrainingSet
from atom_distill.base.device import pick_device
from atom_distill.base.errors import MissingExtraError
from atom_distill.base.files import write_text
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.tensors import sha256
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.report.html_page import make_report

READY_SET = "cifar10-3072"
CIFAR10 = Path(__file__).parent / "cifar10"
"""Images of CIFAR-10 and a set of random ones, by `tools/demo_images.py`."""
QUICK = PROTOCOLS.get("quick")
EPOCHS = 10
"""Of the networks that are trained on 610 pictures: as many as two slow cores do in a minute."""


@dataclass(frozen=True)
class Demo:
    """How a data set is distilled and judged."""

    steps: int
    repeats: int
    protocol: TrainingProtocol
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)


DEMOS = {
    "digits": Demo(
        steps=150,
        repeats=3,
        protocol=PROTOCOLS.get("dm").changed(epochs=200),
        folder=Path("demo/digits-fast-ipc1"),
        settings={"preset": "fast"},
    ),
    "cifar10": Demo(steps=500, repeats=5, protocol=PROTOCOLS.get("dm"), folder=Path("demo/cifar10-atom-ipc1")),
}


def main(name: str) -> None:
    """Distill and compare; for digits also train on the set that comes along, and write a report."""
    demo = DEMOS[name]
    distill_and_compare(name, demo)
    if name == "digits":
        train_on_ready_set(EPOCHS)
        print(f"\nthe report of the digits, to open in a browser: {report_of(demo.folder)}")
        print(f"pictures of {READY_SET}: {bundled_folder(READY_SET) / 'grid.png'}")


def distill_and_compare(name: str, demo: Demo) -> None:
    """Distill to one image per class, and print the accuracies of networks trained on these and on random images."""
    dataset = ad.load_dataset(name)
    print(f"{name}: {len(dataset.train)} training images in {dataset.num_classes} classes -> {dataset.num_classes}")
    distilled = ad.distill(dataset, ipc=1, out=demo.folder, steps=demo.steps, resume=True, **demo.settings)

    evaluation = Evaluation(repeats=demo.repeats, protocol=demo.protocol, device=pick_device("auto"))
    atom = evaluation.of_distilled(distilled, dataset)
    distilled.add_score(atom)
    random = evaluation.of_random(dataset, per_class=1, preprocess=distilled.preprocessing.kind)
    distilled.add_score(random)

    print()
    print(f"test accuracy after training on {len(distilled)} images, {demo.repeats} networks each:")
    print(f"  random real images   {random.mean:5.1f} +- {random.std:.1f} %")
    print(f"  ATOM                 {atom.mean:5.1f} +- {atom.std:.1f} %   ({atom.mean - random.mean:+.1f} points)")
    print(f"picture: {demo.folder / 'grid.png'}   everything else: {demo.folder}")


def train_on_ready_set(epochs: int, shape: NetworkShape | None = None) -> None:
    """Print the accuracies of networks trained on 26 to 31 KB: a distilled set and two choices of random images.

    Args:
        epochs: on sets of 610 images; ten images are passed more often, for the same number of updates.
        shape: departures from the ConvNet's depth, width, norm, activation and pooling.
    """
    tiny = ad.load_distilled(READY_SET)
    random = ad.DistilledDataset.load(CIFAR10 / "random-3072")
    dataset = cifar10_images(tiny.class_names)
    few = TrainingSet(tiny.preprocessing.apply(dataset.train.images), dataset.train.labels, None)
    updates = epochs * math.ceil(len(tiny) / QUICK.batch_size)
    print(f"\ncifar10: training on {READY_SET}, which comes with the package, and on random real images")

    rows = {
        f"{len(few.images)} random real images, as they are": (
            dataset.train.images.numel(),
            evaluation_of(updates, shape).of_images(few, tiny.preprocessing, dataset),
        ),
        f"{len(random)} random real images, in the form of {READY_SET}": (
            random.stored_bytes,
            evaluation_of(epochs, shape).of_distilled(random, dataset),
        ),
        f"{READY_SET}, {len(tiny)} images by ATOM": (
            tiny.stored_bytes,
            evaluation_of(epochs, shape).of_distilled(tiny, dataset),
        ),
    }
    print(f"\naccuracy on {len(dataset.test):,} test images, one network each, {epochs} epochs ({updates} updates):")
    for name, (size, score) in rows.items():
        print(f"  {name:<51} {size:6,} bytes   {score.mean:4.1f} %")


def evaluation_of(epochs: int, shape: NetworkShape | None) -> Evaluation:
    """Return how one network is trained and tested: by the protocol `quick`, but for so many epochs."""
    protocol = QUICK.changed(epochs=epochs)
    return Evaluation(shape=shape or NetworkShape(), repeats=1, protocol=protocol, device=pick_device("auto"))


def cifar10_images(class_names: tuple[str, ...]) -> ImageDataset:
    """Return the images of CIFAR-10 that come along: a training image and a hundred test images of each class."""
    train, test = (images_of_sheet(CIFAR10 / name, len(class_names)) for name in ("train-10.png", "test-1000.png"))
    fingerprint = sha256(train.images, test.images)
    return ImageDataset("cifar10-1000", train, test, class_names, source=str(CIFAR10), fingerprint=fingerprint)


def images_of_sheet(picture: Path, num_classes: int, side: int = 32) -> Split:
    """Return the images of a contact sheet in color, row by row, which has as many of each class, class after class."""
    with Image.open(picture) as opened:
        pixels = torch.from_numpy(np.array(opened))  # [height, width, 3]
    images: Tensor = pixels.unfold(0, side, side).unfold(1, side, side).flatten(0, 1).contiguous()
    return Split(images, torch.arange(num_classes).repeat_interleave(len(images) // num_classes))


def report_of(run: Path) -> str:
    """Write the report of a run, and return where it is, or how to get one."""
    page = run.parent / "report.html"
    try:
        write_text(page, make_report([run]).html)
    except MissingExtraError as error:
        return str(error)
    return str(page)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "digits"
    if chosen not in DEMOS:
        sys.exit(f"the demo knows {' and '.join(DEMOS)}, not {chosen!r}; try `atom distill {chosen} --ipc 1`")
    try:
        main(chosen)
    except ad.AtomError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(2)

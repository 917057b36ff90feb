"""Distill a data set at one image per class and compare the result with random real images.

    python examples/demo.py [digits|cifar10]

Digits takes a minute or two on two cores, CIFAR-10 about ten. What is distilled stays in `demo/`, so a second call only
evaluates; remove the folder to start afresh.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import atom_distill as ad
from atom_distill.base.device import pick_device
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Demo:
    """How much is done for a data set."""

    steps: int
    repeats: int
    protocol: TrainingProtocol


DEMOS = {
    "digits": Demo(steps=300, repeats=5, protocol=PROTOCOLS.get("dm").changed(epochs=300)),
    "cifar10": Demo(steps=500, repeats=5, protocol=PROTOCOLS.get("dm")),
}


def main(name: str) -> None:
    """Distill, evaluate, compare, and say where the picture is."""
    demo = DEMOS[name]
    dataset = ad.load_dataset(name)
    folder = Path("demo") / f"{name}-atom-ipc1"
    print(f"{name}: {len(dataset.train)} training images in {dataset.num_classes} classes -> {dataset.num_classes}")
    distilled = ad.distill(dataset, ipc=1, out=folder, steps=demo.steps, resume=True)

    evaluation = Evaluation(repeats=demo.repeats, protocol=demo.protocol, device=pick_device("auto"))
    atom = evaluation.of_distilled(distilled, dataset)
    distilled.add_score(atom)
    random = evaluation.of_random(dataset, per_class=1, preprocess=distilled.preprocessing.kind)
    distilled.add_score(random)

    print()
    print(f"test accuracy after training on {len(distilled)} images, {demo.repeats} networks each:")
    print(f"  random real images   {random.mean:5.1f} +- {random.std:.1f} %")
    print(f"  ATOM                 {atom.mean:5.1f} +- {atom.std:.1f} %   ({atom.mean - random.mean:+.1f} points)")
    print(f"picture: {folder / 'grid.png'}   everything else: {folder}")


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "digits"
    if chosen not in DEMOS:
        sys.exit(f"the demo knows {' and '.join(DEMOS)}, not {chosen!r}; try `atom distill {chosen} --ipc 1`")
    try:
        main(chosen)
    except ad.AtomError as error:
        print(f"demo: {error}", file=sys.stderr)
        sys.exit(2)

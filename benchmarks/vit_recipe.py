"""Choose the recipe by which a network learns from few images: that of the protocol `vit`, or of an architecture.

    python benchmarks/vit_recipe.py [--dataset cifar10] [--ipc 10 60] [--lr 0.0002 0.0005 0.001]
        [--weight-decay 0.05 0.3] [--augment weak medium strong] [--epochs 300] [--networks 1] [--json FILE]
    python benchmarks/vit_recipe.py --arch alexnet --protocol dm --preprocess zca --ipc 50
        --lr 0.001 0.003 0.01 0.03 0.1 --weight-decay 0.0005 --augment weak

Every combination trains networks on random real images, a fresh draw for each network and the same draws for every
combination, and tests them on training images that are held out; the test split is not looked at. The best is the one
of the highest accuracy, averaged over the sizes, of those that were trained on all of them. With --json, the same
command continues after an interruption.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import atom_distill as ad
from atom_distill.base.device import pick_device
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import hold_out
from atom_distill.evaluation.evaluate import Evaluation

STRENGTHS: Mapping[str, Mapping[str, Any]] = {
    "weak": {"augment": "color_crop_cutout_flip_scale_rotate", "augment_always": "none", "cutmix": 0.0},
    "medium": {"augment": "crop_cutout_scale_rotate", "augment_always": "flip_color", "cutmix": 0.5},
    "strong": {"augment": "cutout_scale_rotate", "augment_always": "flip_color_crop", "cutmix": 1.0},
}
"""Of augmentation, by name: weak is that of dm; the others give every batch several operations, and CutMix."""
_HELD_OUT = 0.1


def main() -> None:
    """Train by all recipes, and print a table."""
    options = _options()
    dataset = hold_out(ad.load_dataset(options.dataset), _HELD_OUT, options.seed)
    case = {name: value for name, value in vars(options).items() if name != "json"}
    rows = _known(options.json, case)
    for ipc, protocol in itertools.product(options.ipc, recipes(options)):
        if all((row["ipc"], row["protocol"]) != (ipc, protocol.name) for row in rows):
            rows.append(_row(dataset, ipc, protocol, options))
            _write(options.json, {"rows": rows, "best": best(rows, options.ipc), "case": case, "record": run_record()})
    means = means_of(rows, options.ipc)
    print("| recipe | held-out accuracy % |\n|---|---|")
    for name in sorted(means, key=lambda name: -means[name]):
        print(f"| {name} | {means[name]:.2f} |")
    print(f"best: {best(rows, options.ipc)}")


def recipes(options: argparse.Namespace) -> list[TrainingProtocol]:
    """Return all combinations of learning rate, weight decay and augmentation."""
    base = PROTOCOLS.get(options.protocol)
    return [
        base.changed(epochs=options.epochs or base.epochs, lr=lr, weight_decay=decay, **STRENGTHS[strength])
        for lr, decay, strength in itertools.product(options.lr, options.weight_decay, options.augment)
    ]


def best(rows: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> str | None:
    """Return the name of the protocol with the highest mean; None if none was trained on all sizes yet."""
    means = means_of(rows, sizes)
    return max(means, key=means.__getitem__, default=None)


def means_of(rows: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> dict[str, float]:
    """Return the accuracy, averaged over the sizes, of each protocol that was trained on all of them."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["ipc"] in sizes:
            found.setdefault(row["protocol"], {})[row["ipc"]] = row["mean"]
    return {name: fmean(of_size.values()) for name, of_size in found.items() if len(of_size) == len(set(sizes))}


def _row(dataset: ImageDataset, ipc: int, protocol: TrainingProtocol, options: argparse.Namespace) -> dict[str, Any]:
    shape = NetworkShape(depth=options.depth, width=options.width)
    made = {"repeats": options.networks, "seed": options.seed, "device": pick_device(options.device)}
    evaluation = Evaluation(arch=options.arch, shape=shape, protocol=protocol, **made)
    score = evaluation.of_random(dataset, ipc, options.preprocess)
    note(f"{protocol.name}, ipc {ipc}: {score.mean:.1f} %")
    values = {"settings": protocol.model_dump(mode="json"), "runs": score.runs, "seconds": score.seconds}
    return {"ipc": ipc, "protocol": protocol.name, "mean": score.mean, **values}


def _known(path: Path | None, case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an interrupted command that trains the same networks, if perhaps by other recipes."""
    if path is None or not path.exists():
        return []
    content = json.loads(path.read_text())
    same = ("dataset", "arch", "depth", "width", "preprocess", "networks", "seed")
    different = [name for name in same if content["case"][name] != case[name]]
    if different:
        raise SystemExit(f"{path} has another {different[0]}: give another --json")
    return list(content["rows"])


def _write(path: Path | None, content: Mapping[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--arch", default="vit")
    parser.add_argument("--depth", type=int, help="blocks of the networks")
    parser.add_argument("--width", type=int, help="channels of the networks")
    parser.add_argument("--preprocess", default="normalize", choices=("normalize", "zca"))
    parser.add_argument("--ipc", type=int, nargs="+", default=[10, 60], help="random real images per class")
    parser.add_argument("--lr", type=float, nargs="+", default=[2e-4, 5e-4, 1e-3])
    parser.add_argument("--weight-decay", type=float, nargs="+", default=[0.05, 0.3])
    parser.add_argument("--augment", nargs="+", default=list(STRENGTHS), choices=STRENGTHS)
    parser.add_argument("--protocol", default="vit", help="whose values are changed")
    parser.add_argument("--epochs", type=int, help="of each network; default: the protocol's")
    parser.add_argument("--networks", type=int, default=1, help="for each size and recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="file for the rows")
    return parser.parse_args()


if __name__ == "__main__":
    main()

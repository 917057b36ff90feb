"""Rank twelve ways to train a network on a distilled set, and compare the ranking with that on the real images.

    python examples/rank_training_settings.py cifar10-3072

Four learning rates times three augmentations. Each is judged by a network trained on

- `distilled`: the distilled set;
- `random`: as many random real images, stored in the same form;
- `early`: all real images, for only as many updates of the weights as the first two get;

and tested on training images that are held out. What is true is the test accuracy after a full training on all real
images. The script prints the rank correlation of each judgment with it, how good the first-ranked setting truly is, and
the seconds that each took, as a Markdown table. Measurements are kept in the file of results: the same command
continues a stopped one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy import stats

import atom_distill as ad
from atom_distill.artifact.scores import Score
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.base.files import write_json
from atom_distill.base.markdown import table as markdown_table
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.record import run_record
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.original import request_of
from atom_distill.data.subset import hold_out
from atom_distill.evaluation.evaluate import Evaluation

LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)
AUGMENTATIONS = ("none", "crop_flip", "color_crop_cutout_flip_scale_rotate")
SETTINGS = tuple((lr, augment) for lr in LEARNING_RATES for augment in AUGMENTATIONS)
PROXIES = ("distilled", "random", "early")
PROTOCOL = PROTOCOLS.get("quick")
"""All that the settings do not say: momentum, weight decay, batch size, a cosine schedule."""


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        set: a set of `atom sets`, or a run folder.
        epochs: on the distilled and on random images.
        whole_epochs: on all real images.
        repeats: networks per setting.
        width: channels of the networks; None is the architecture's own.
        holdout: share of the training images that judge.
        seed: of every random draw.
    """

    set: str
    epochs: int
    whole_epochs: int
    repeats: int
    width: int | None
    holdout: float
    seed: int


def name_of(lr: float, augment: str) -> str:
    """Return the name of a setting in the file and the tables."""
    return f"lr {lr}, {augment}"


def measurements(plan: Plan, device: str) -> dict[str, Callable[[float, str], Score]]:
    """Return what scores a learning rate and an augmentation: the three proxies, and `whole`."""
    is_run = Path(plan.set).is_dir()
    tiny = ad.DistilledDataset.load(plan.set) if is_run else ad.load_distilled(plan.set)
    dataset = ad.load_dataset(**request_of(tiny.dataset))
    judging = hold_out(dataset, plan.holdout, plan.seed)
    kind, batch = tiny.preprocessing.kind, PROTOCOL.batch_size
    updates = plan.epochs * math.ceil(len(tiny) / batch)
    early_epochs = max(1, round(updates / math.ceil(len(judging.train) / batch)))

    def evaluation(lr: float, augment: str, epochs: int) -> Evaluation:
        protocol = PROTOCOL.changed(lr=lr, augment=augment, epochs=epochs)
        shape = NetworkShape(width=plan.width)
        return Evaluation(
            repeats=plan.repeats, protocol=protocol, seed=plan.seed, shape=shape, device=pick_device(device)
        )

    return {
        "distilled": lambda lr, augment: evaluation(lr, augment, plan.epochs).of_distilled(tiny, judging),
        "random": lambda lr, augment: evaluation(lr, augment, plan.epochs).of_random_like(tiny, judging),
        "early": lambda lr, augment: evaluation(lr, augment, early_epochs).of_whole(judging, kind),
        "whole": lambda lr, augment: evaluation(lr, augment, plan.whole_epochs).of_whole(dataset, kind),
    }


def measure(plan: Plan, device: str, out: Path) -> dict[str, Any]:
    """Return plan, record, and `measured`: accuracy and seconds by proxy and setting, each written when it is known.

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
    for subject, score_of in measurements(plan, device).items():
        found = measured.setdefault(subject, {})
        for lr, augment in SETTINGS:
            if name_of(lr, augment) in found:
                continue
            score = score_of(lr, augment)
            found[name_of(lr, augment)] = {"mean": score.mean, "runs": score.runs, "seconds": score.seconds}
            write_json(out, results)
            print(f"{subject}, {name_of(lr, augment)}: {score.mean:.1f} %", file=sys.stderr)
    return results


def compare(measured: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return for each proxy how well it ranks: a row of the table.

    `spearman` is None where a proxy, or the truth, finds all settings equal.
    """
    names = list(measured["whole"])
    truth = [measured["whole"][name]["mean"] for name in names]
    whole_seconds = sum(one["seconds"] for one in measured["whole"].values())
    rows = []
    for proxy in PROXIES:
        judged = [measured[proxy][name]["mean"] for name in names]
        seconds = sum(one["seconds"] for one in measured[proxy].values())
        chosen = names[judged.index(max(judged))]
        rows.append(
            {
                "proxy": proxy,
                "spearman": float(stats.spearmanr(judged, truth).statistic) if both_vary(judged, truth) else None,
                "chosen": chosen,
                "chosen_accuracy": measured["whole"][chosen]["mean"],
                "best_accuracy": max(truth),
                "seconds": seconds,
                "times_faster": whole_seconds / seconds,
            }
        )
    return rows


def both_vary(judged: Sequence[float], truth: Sequence[float]) -> bool:
    """Return True if neither finds all settings equal."""
    return len(set(judged)) > 1 and len(set(truth)) > 1


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the comparison as a Markdown table."""
    lines = []
    for row in rows:
        rho = "-" if row["spearman"] is None else f"{row['spearman']:.2f}"
        accuracies = [f"{row['chosen_accuracy']:.1f}", f"{row['best_accuracy']:.1f}"]
        times = [f"{row['seconds']:,.0f} s", f"{row['times_faster']:.1f} times"]
        lines.append([row["proxy"], rho, row["chosen"], *accuracies, *times])
    heads = ["ranked on", "rank correlation", "ranked first", "its true accuracy, %", "the best one's"]
    return markdown_table([*heads, "time", "faster"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, print; return 0, or 2 where something is for the user to correct."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", help="a set that `atom sets` lists, or a run folder")
    parser.add_argument("--epochs", type=int, default=200, help="on the distilled and on random images")
    parser.add_argument("--whole-epochs", type=int, default=20, help="on all real images")
    parser.add_argument("--repeats", type=int, default=1, help="networks per setting")
    parser.add_argument("--width", type=int, help="channels of the networks; default: 128")
    parser.add_argument("--holdout", type=float, default=0.1, help="share of the training images that judge")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ..., or auto")
    parser.add_argument("--out", type=Path, default=Path("runs/training-settings.json"), help="file of results")
    options = vars(parser.parse_args(arguments))
    device, out = options.pop("device"), options.pop("out")
    plan = Plan(**options)
    try:
        results = measure(plan, device, out)
    except ad.AtomError as error:
        print(f"rank_training_settings: {error}", file=sys.stderr)
        return 2
    rows = compare(results["measured"])
    write_json(out, {**results, "comparison": rows})
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Compare sets that were matched in a ConvNet, in a transformer, and in both, by networks of both kinds.

    python benchmarks/transformers.py [--dataset cifar10] [--bytes 3072 30720] [--ways random "best, both" ...]
        [--networks 5] [--epochs-scale 1] [--set NAME=VALUE ...] [--runs FOLDER] [--json FILE]

All sets are stored in the form of the preset `best`: random real images, ATOM without labels in the two architectures
and in both by turns, and the preset itself in the same three ways. Transformers are trained by the protocol `vit`,
ConvNets by `quick`. Runs and scores are kept: the same command continues.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kept import folder_name, run_in, scored
from step import settings_of

import atom_distill as ad
from atom_distill.base.record import run_record
from atom_distill.config.training_protocol import PROTOCOLS

_WITHOUT_LABELS: Mapping[str, Any] = {"networks": "fresh", "pool": 0, "label_weight": 0.0}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "random": {"method": "random"},
    "ATOM, ConvNet": {**_WITHOUT_LABELS, "arch": "convnet"},
    "ATOM, ViT": {**_WITHOUT_LABELS, "arch": "vit"},
    "ATOM, both": {**_WITHOUT_LABELS, "arch": "convnet+vit"},
    "best, ConvNet": {"arch": "convnet"},
    "best, ViT": {"arch": "vit"},
    "best, both": {"arch": "convnet+vit"},
}
"""Settings beside those of the preset `best`."""
_TRAINED_BY = {"vit": "vit", "convnet": "quick"}
"""Protocol of each architecture that is trained on the sets."""


def main() -> None:
    """Distill, score, and print a table."""
    options = _options()
    dataset = ad.load_dataset(options.dataset)
    rows: list[dict[str, Any]] = []
    for size in options.bytes:
        for way in options.ways:
            settings = {"preset": "best", "bytes": size, "snapshots": 0, **settings_of(options.set), **WAYS[way]}
            words = way.lower().replace(",", "").replace(" ", "-")
            out = options.runs / folder_name(options.dataset, words, str(size), settings=options.set)
            run = run_in(out, dataset, **settings)
            for arch, name in _TRAINED_BY.items():
                protocol = PROTOCOLS.get(name)
                protocol = protocol.changed(epochs=max(1, round(protocol.epochs * options.epochs_scale)))
                score = scored(run, dataset, arch=arch, protocol=protocol, networks=options.networks)
                row = {"way": way, "bytes": size, "protocol": protocol.name}
                rows.append({**row, "run_s": run.record.get("run_seconds"), **score})
    _print(rows)
    if options.json:
        content = {"rows": rows, "case": vars(options), "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2, default=str) + "\n")


def _print(rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys((row["bytes"], row["arch"], row["protocol"]) for row in rows))
    titles = [f"{size:,} bytes, {arch}, `{protocol}`" for size, arch, protocol in columns]
    print(f"| | {' | '.join(titles)} |\n|---|{'---|' * len(columns)}")
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = [f"{row['mean']:.1f} +- {row['std']:.1f}" for row in rows if row["way"] == way]
        print(f"| {way} | {' | '.join(cells)} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--bytes", type=int, nargs="+", default=[3072, 30720], help="per class")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--networks", type=int, default=5, help="for each score")
    parser.add_argument("--epochs-scale", type=float, default=1.0, help="factor on the epochs of both protocols")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings of runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/transformers"), help="folder of the runs")
    parser.add_argument("--json", help="file for the rows")
    options = parser.parse_args()
    of_ways = {name for settings in WAYS.values() for name in settings}
    if fixed := sorted(of_ways & settings_of(options.set).keys()):
        parser.error(f"--set cannot change {', '.join(fixed)}, by which the ways differ")
    return options


if __name__ == "__main__":
    main()

"""Measure whether the protocol quick ranks sets as dm does, and how much faster it is.

    python benchmarks/quick_protocol.py RUN RUN RUN ... [--networks 2] [--epochs-scale 1] [--json FILE]

Each run folder or import is scored with both protocols by networks of its own data set, and keeps the scores. What is
reported: Spearman's rank correlation of the two mean accuracies over the sets, and the ratio of the seconds. Sets that
differ by less than the deviation between networks are not told apart by either protocol; take sets that differ.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

import atom_distill as ad
from atom_distill.artifact.scores import Score
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.config.training_protocol import PROTOCOLS, TrainingProtocol
from atom_distill.data.original import request_of

_NAMES = ("dm", "quick")


def main() -> None:
    """Score the sets and print a table."""
    options = _options()
    protocols = [_scaled(PROTOCOLS.get(name), options.epochs_scale) for name in _NAMES]
    rows = [_row(folder, protocols, options) for folder in options.runs]
    correlation = float(spearmanr([row["dm"] for row in rows], [row["quick"] for row in rows]).statistic)
    ratio = sum(row["quick_seconds"] for row in rows) / sum(row["dm_seconds"] for row in rows)
    print("| set | dm % | quick % |\n|---|---|---|")
    for row in rows:
        print(
            f"| {row['set']} | {row['dm']:.2f} +- {row['dm_std']:.2f} | {row['quick']:.2f} +- {row['quick_std']:.2f} |"
        )
    print(f"Spearman {correlation:.3f} over {len(rows)} sets; quick takes {ratio:.2f} of the time of dm")
    if options.json:
        case = {"networks": options.networks, "protocols": [protocol.name for protocol in protocols]}
        content = {"spearman": correlation, "time_ratio": ratio, "sets": rows, "case": case, "record": run_record()}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _scaled(protocol: TrainingProtocol, scale: float) -> TrainingProtocol:
    return protocol.changed(epochs=max(1, round(protocol.epochs * scale)))


def _row(folder: Path, protocols: Sequence[TrainingProtocol], options: argparse.Namespace) -> dict[str, Any]:
    distilled = ad.DistilledDataset.load(folder)
    dataset = ad.load_dataset(**request_of(distilled.dataset))
    row: dict[str, Any] = {"set": folder.name, "images": len(distilled)}
    for name, protocol in zip(_NAMES, protocols, strict=True):
        score: Score = ad.evaluate(distilled, dataset, repeats=options.networks, protocol=protocol, show_progress=False)
        row |= {name: score.mean, f"{name}_std": score.std, f"{name}_seconds": score.seconds}
    note(f"{folder}: dm {row['dm']:.1f}, quick {row['quick']:.1f}")
    return row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, three or more")
    parser.add_argument("--networks", type=int, default=2, help="networks per set and protocol")
    parser.add_argument("--epochs-scale", type=float, default=1.0, help="factor on the epochs of both, for a trial")
    parser.add_argument("--json", help="file for the result")
    options = parser.parse_args()
    if len(options.runs) < 3:
        parser.error("a rank correlation needs at least three sets")
    return options


if __name__ == "__main__":
    main()

"""Time a step on many pictures stored as low frequencies, its synthetic branch in float32 and in bfloat16.

    python benchmarks/synthetic_branch.py [--ipc 1 10] [--parameterization frequency-12-6] [--rounds 5] [--json FILE]

14 pictures of 12 + 6 + 6 frequencies have the values of one image of pixels; both ways take steps in turn, in one
process. Real branch, random images and rounds are those of benchmarks/step.py; its lower bound has the lower of both
precisions here.
"""

from __future__ import annotations

import tuned  # noqa: F401  (before torch)

# isort: split
import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from machine import Machine, measure, step_floor
from step import Case, first_images, our_step, plan_of, seconds_of

from atom_distill.base.progress import note
from atom_distill.base.record import run_record

_WAYS = ("float32", "bfloat16")


def main() -> None:
    """Run the benchmark and print a table."""
    options = _options()
    machine = measure(torch.device(options.device))
    rows = [_row(ipc, machine, options) for ipc in options.ipc]
    print("| ipc | pictures a step | float32 s | bfloat16 s | speedup | lower bound s | bfloat16 / lower bound |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['ipc']} | {row['pictures']} | {row['float32_s']:.3f} | {row['bfloat16_s']:.3f} "
            f"| {row['float32_s'] / row['bfloat16_s']:.1f} | {row['floor_s']:.3f} "
            f"| {row['bfloat16_s'] / row['floor_s']:.1f} |"
        )
    if options.json:
        content = {"rows": rows, "case": vars(options), "record": run_record(), "machine": vars(machine)}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10], help="images per class, stored as pictures")
    parser.add_argument("--parameterization", default="frequency-12-6")
    parser.add_argument("--batch-real", type=int, default=128, help="real images per class")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each")
    parser.add_argument("--json", help="file for the rows")
    return parser.parse_args()


def _row(ipc: int, machine: Machine, options: argparse.Namespace) -> dict[str, Any]:
    cases = {
        dtype: Case(
            ipc=ipc,
            classes=10,
            size=32,
            depth=3,
            norm="instance",
            batch_real=options.batch_real,
            device=torch.device(options.device),
            settings={"parameterization": options.parameterization, "synthetic_dtype": dtype},
        )
        for dtype in _WAYS
    }
    steps = {dtype: our_step(case) for dtype, case in cases.items()}
    for dtype, step in steps.items():
        note(f"ipc {ipc}: warming up {dtype}")
        step()
        step()
    times: dict[str, list[float]] = {dtype: [] for dtype in steps}
    for _ in range(options.rounds):
        for dtype, step in steps.items():
            times[dtype].append(seconds_of(step, cases[dtype].device))
    pictures = len(first_images(plan_of(cases["float32"])))
    low = Machine(machine.low_flops, machine.low_flops, machine.bandwidth)
    floor = step_floor(low, classes=10, batch_real=options.batch_real, ipc=pictures // 10, size=32, depth=3)
    return {
        "ipc": ipc,
        "pictures": pictures,
        **{f"{dtype}_s": statistics.median(values) for dtype, values in times.items()},
        "floor_s": floor,
    }


if __name__ == "__main__":
    main()

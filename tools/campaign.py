"""Show that nothing is lost and nothing breaks: runs that are killed, damaged inputs, disks that fail. Linux only.

    python tools/campaign.py --kills 100 --damaged 10000 --seed 0               # all of it: hours of one core
    python tools/campaign.py --part damaged --damaged 10000 --first 4000       # the inputs from number 4000 on
    python tools/campaign.py --kills 1 --damaged 100 --every 100               # a hundredth

Kills: SIGKILL at a random moment of a run, once or up to three times; the run goes on with `--resume` and must end with
the bits of one that was left alone. Damage: inputs with flipped bits, missing parts, other headers, other values; each
command must succeed or refuse with one line and exit code 2, within 30 seconds and 2 GiB, and write nowhere else.
Failures: a full disk, a read-only one and errors of the system at the n-th change of a file, for every n; a command
must refuse with one line, lose nothing that there was, and succeed when it is given again.

Each input is drawn from the seed and its number alone. The folder of each one with a problem is kept, and named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reliability import warm
from reliability.children import Place, warm_up
from reliability.damage import try_damaged
from reliability.faults import try_faults
from reliability.kills import try_kills
from reliability.page import write_paragraph
from reliability.samples import write_samples

PARTS = ("kills", "damaged", "faults")


def run_kills(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the counts of killed runs by variety and by phase, and the problems."""
    tried, phases, problems = Counter[str](), Counter[str](), []
    for kill in try_kills(range(options.first, options.first + options.kills), options.seed, work):
        tried[kill.variety] += 1
        phases.update(kill.phases)
        if kill.problem:
            problems.append(f"{kill.number}, {kill.variety}: {kill.problem}")
            _say(problems[-1])
        _say(f"kills: {tried.total()} of {options.kills}", every=10, count=tried.total())
    return {"runs": tried.total(), "by_variety": tried, "killed_while": phases, "problems": problems}


def run_damaged(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the counts of damaged inputs by kind, what the worst took, and the problems."""
    intact = work / "intact"
    write_samples(intact)
    tried, refused, problems, slowest, largest = Counter[str](), Counter[str](), [], 0.0, 0.0
    for case in try_damaged(range(options.first, options.first + options.damaged), options.seed, intact, work):
        tried[case.kind] += 1
        refused[case.kind] += case.refused
        slowest, largest = max(slowest, case.seconds), max(largest, case.peak_mib)
        if case.problem:
            problems.append(f"{case.number}, {case.kind}: atom {case.line}: {case.problem}")
            _say(problems[-1])
        _say(f"damaged: {tried.total()} of {options.damaged}", every=100, count=tried.total())
    counts = {kind: {"tried": tried[kind], "refused": refused[kind]} for kind in sorted(tried)}
    worst = {"slowest_s": round(slowest, 1), "most_memory_mib": round(largest)}
    return {"inputs": tried.total(), "by_kind": counts, **worst, "problems": problems}


def run_faults(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the counts of failures of the disk by command, and the problems."""
    tried, refused, problems = Counter[str](), Counter[str](), []
    for failure in try_faults(work, every=options.every, first=options.first):
        tried[failure.command] += 1
        refused[failure.command] += failure.refused
        if failure.problem:
            problems.append(f"{failure.command}, {failure.fault}: {failure.problem}")
            _say(problems[-1])
        _say(f"faults: {tried.total()}, at {failure.command}", every=100, count=tried.total())
    counts = {command: {"tried": tried[command], "refused": refused[command]} for command in tried}
    return {"failures": tried.total(), "every": options.every, "by_command": counts, "problems": problems}


def _say(text: str, *, every: int = 1, count: int = 0) -> None:
    if count % every == 0:
        print(text, file=sys.stderr, flush=True)


def conditions(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the counts were made with: the command, the machine, the versions, the commit."""
    import torch

    here = Path(__file__).resolve().parent
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    command = " ".join(["python", "tools/campaign.py", *arguments])
    return {"command": command, "machine": machine, "versions": versions, "commit": told.stdout.strip()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, write the counts, and return 1 where there was a problem."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="part to run (default: all); may be repeated")
    parser.add_argument("--kills", type=int, default=100, help="runs to kill")
    parser.add_argument("--damaged", type=int, default=10_000, help="damaged inputs")
    parser.add_argument("--every", type=int, default=1, help="10 tries each tenth failure of a disk")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--first", type=int, default=0, help="number of the first run, input or failure")
    parser.add_argument("--out", type=Path, help="JSON file of the counts; parts that it has already are kept")
    parser.add_argument("--page", type=Path, help="page whose paragraph on reliability is written anew from --out")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)
    work = Path(tempfile.mkdtemp(prefix="atom-campaign-"))
    warm_up(Place(work / "warm"), warm.lines())
    counts = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    parts = {"kills": run_kills, "damaged": run_damaged, "faults": run_faults}
    chosen = options.part or PARTS
    for name in chosen:
        started = time.perf_counter()
        (work / name).mkdir()
        found = parts[name](options, work / name)
        counts[name] = {**conditions(given), "seconds": round(time.perf_counter() - started), **found}
        if options.out:
            options.out.write_text(json.dumps(counts, indent=2) + "\n")
    if options.page:
        write_paragraph(options.page, counts)
    problems = [problem for name in chosen for problem in counts[name]["problems"]]
    summary = {name: {k: v for k, v in part.items() if isinstance(v, int | float)} for name, part in counts.items()}
    print(json.dumps(summary, indent=2))
    print(f"{len(problems)} problems" + (f"; their folders are in {work}" if problems else ""))
    if not problems:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())

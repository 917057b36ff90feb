"""Measure on a GPU, most telling first, what has not been measured there: a session in one command.

    python benchmarks/gpu.py --minutes 10 --json results/gpu.json [--only PART ...] [--skip PART ...]

Each part runs in a process of its own for a limited time. The results are written after each case, so that a session
that is killed loses only the case under way; given the same file again, a session goes on with what is missing there.
Parts that were finished with the same sources of the package, on the same card, are not run again. Folders of runs and
logs are kept below `--runs`. `--device cpu --small` does everything with a few steps on the digits, as a test.
"""

from __future__ import annotations

import tuned  # noqa: F401 (before torch)

# isort: split
import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_parts import measure_evaluations, measure_one_rank, measure_pool, measure_steps
from gpu_session import Part, Session, identity_of, this_script
from gpu_sets import measure_sets

from atom_distill.api import plan_distillation
from atom_distill.base.files import write_json
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.load import load_dataset

_SIZES = (3072, 12288, 30720, 153600)
"""Bytes a class."""
_STEPS_OF_THE_LARGEST = 2930
"""Steps that the preset best takes for it."""
_HIDDEN = frozenset({"score", "set", "began", "ended", "places", "all"})
"""Figures that the file has and the table does not."""


def main() -> None:
    """Run the session, or one part of it."""
    options = _options()
    results = options.json or Path("runs/gpu-small.json" if options.small else "results/gpu.json")
    identity = identity_of(options.device, small=options.small)
    session = Session(
        results=results,
        runs=options.runs / "-".join([identity["sources"], *(["small"] if options.small else [])]),
        device=options.device,
        small=options.small,
        ends=options.ends or time.time() + 60 * options.minutes,
        identity=identity,
    )
    others = {part["identity"]["card"] for part in session.content()["parts"].values()} - {identity["card"]}
    if others:
        sys.exit(f"{results} holds figures of {', '.join(sorted(others))}, which would be lost: give another --json")
    if options.part:
        PARTS[options.part].measure(replace(session, part=options.part))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part under way is stopped, too
    chosen = [part for name, part in PARTS.items() if name in options.only and name not in options.skip]
    not_run = run_parts(session, chosen)
    print(table(session.content()["parts"], not_run))
    print(
        f"\nruns and logs are in {session.runs}; to add scores: python tools/frontier.py collect {session.runs}/best-*"
    )


def run_parts(session: Session, parts: Sequence[Part]) -> dict[str, str]:
    """Run the parts that are not finished and for which there is time; return the others with the reason."""
    not_run = {}
    for part in parts:
        needs, left = 0.0 if session.small else part.needs, session.seconds_left
        if session.is_finished(part):
            continue
        if left < max(needs, 1.0):
            not_run[part.name] = f"needs {needs:.0f} s or more, and {max(left, 0):.0f} s were left"
            continue
        same = ["--device", session.device, "--json", str(session.results), "--runs", str(session.runs.parent)]
        same += ["--ends", str(session.ends), *(["--small"] if session.small else [])]
        session.run(part, this_script("--part", part.name, *same))
    write_json(session.results, {**session.content(), "not_run": not_run})
    return not_run


def table(parts: Mapping[str, Any], not_run: Mapping[str, str]) -> str:
    """Return all results as a table."""
    lines = ["| part | case | result |", "|---|---|---|"]
    for name, part in parts.items():
        lines.append(f"| {name} | | {part['state']}, {part['seconds']:.0f} s, {part['identity']['card']} |")
        for case, values in part["cases"].items():
            shown = ", ".join(f"{key} {_shown(value)}" for key, value in values.items() if key not in _HIDDEN)
            lines.append(f"| {name} | {case} | {shown} |")
    lines += [f"| {name} | | not run: {reason} |" for name, reason in not_run.items()]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _frontier(session: Session) -> None:
    """Distill by the preset best at several sizes, and evaluate by the protocol dm."""
    session.case("pool", lambda: _pool(session))
    measure_sets(session, {f"best-{size}": options for size, options in _sized(session).items()})


def _baselines(session: Session) -> None:
    """Evaluate random real images in the same form."""
    sets = {f"random-{size}": [*options, "--method", "random"] for size, options in _sized(session).items()}
    measure_sets(session, sets)


def _paper(session: Session) -> None:
    """Distill with the paper's settings, 8000 steps, and evaluate."""
    steps, sizes = ("2", (1,)) if session.small else ("8000", (10, 50))
    measure_sets(session, {f"paper-ipc{ipc}": ["--ipc", str(ipc), "--steps", steps] for ipc in sizes})


def _longer(session: Session) -> None:
    """Distill what takes hours on a CPU: ten times the steps, and a pool of 20 networks of 60 epochs."""
    sized, few = _sized(session), session.small
    large, small = max(sized), min(sized)
    steps = 4 if few else 10 * _STEPS_OF_THE_LARGEST
    pool = ["--pool", "2" if few else "20", "--pool-epochs", "1" if few else "60"]
    sets = {
        f"best-{large}-10x": [*_without(sized[large], "--steps"), "--steps", str(steps)],
        f"best-{small}-pool": [*_without(sized[small], "--pool-epochs"), *pool],
    }
    measure_sets(session, sets)


def _without(options: Sequence[str], name: str) -> list[str]:
    """Return options without one and its value."""
    if name not in options:
        return list(options)
    place = list(options).index(name)
    return [*options[:place], *options[place + 2 :]]


def _sized(session: Session) -> dict[int, list[str]]:
    """Return the options of a set of each size; a few hundred steps are over before they would be compiled."""
    few = ["--steps", "2", "--pool-epochs", "1"] if session.small else []
    sizes = (64,) if session.small else _SIZES
    return {size: ["--preset", "best", "--bytes", str(size), "--compile", "off", *few] for size in sizes}


def _pool(session: Session) -> dict[str, Any]:
    """Train the pool of the largest set, of which the others use a part, before several processes want it."""
    small: dict[str, Any] = {"bytes": 64, "pool_epochs": 1, "steps": 2, "width": 4}
    dataset = load_dataset("digits" if session.small else "cifar10")
    asked = small if session.small else {"bytes": max(_SIZES)}
    plan = plan_distillation(dataset, {"preset": "best", "device": session.device, **asked})
    assert plan.pool is not None  # the preset has one
    plan.pool.train(fit_preprocessing(plan.settings.preprocess, dataset), plan.shard.ranks, show_progress=False)
    return {"networks": plan.pool.recipe.networks, "seconds": plan.pool.seconds()}


PARTS = {
    part.name: part
    for part in (
        Part("step", measure_steps, needs=60, limit=150),
        Part("frontier", _frontier, needs=120, limit=330),
        Part("evaluation", measure_evaluations, needs=60, limit=240),
        Part("pool", measure_pool, needs=60, limit=180),
        Part("one-rank", measure_one_rank, needs=40, limit=120),
        Part("paper", _paper, needs=120, limit=400),
        Part("longer", _longer, needs=300, limit=1200),
        Part("baselines", _baselines, needs=120, limit=560),
    )
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="after which the session is over")
    parser.add_argument("--json", type=Path, help="file of the results: results/gpu.json; runs/gpu-small.json if small")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=[], help="parts not to run")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"), help="folder for runs and logs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="few steps on the digits, to try the script")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--ends", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()

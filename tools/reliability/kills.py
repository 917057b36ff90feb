"""Runs that SIGKILL ends at random moments, and that go on to the bits of a run that was left alone."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reliability.children import Child, Outcome, Place, atom
from reliability.comparing import contents, differing
from reliability.samples import write_folders

_FINISHED_S = 300.0
"""Longest that a run may take, seconds."""
_ATTEMPTS = 6
"""How often a run is begun anew that was done before it was killed, each time to be killed in half the time."""
_NOTICED_S = 20.0
"""Time in which a process notices that another is gone."""
_ENDS = (0, 1, 130, -signal.SIGKILL, -signal.SIGTERM)
"""Exit codes of a process that was killed, or lost another, or was asked to stop, or was done before."""
_DISTILL = "distill PETS --batch-real 16 --width 16 --device cpu --out run --resume"
_EVALUATE = "evaluate run --repeats 1 --epochs 20 --width 16 --compile off --device cpu"
_PLAIN = f"{_DISTILL} --ipc 1 --steps 40 --checkpoint-every 5 --compile off --preprocess zca"


@dataclass(frozen=True)
class Variety:
    """A kind of run.

    Attributes:
        lines: its commands; PETS is a folder of images.
        share: how many in a hundred.
        start: "fork" from this process, or "exec" of a new Python.
        processes: how many work together.
    """

    lines: tuple[str, ...]
    share: int
    start: str = "fork"
    processes: int = 1


VARIETIES: Mapping[str, Variety] = {
    "ATOM": Variety((_PLAIN, _EVALUATE), 34),
    "ATOM with evaluations on the way": Variety(
        (f"{_PLAIN} --preset fast --eval-every 10 --eval-epochs 3", _EVALUATE.replace("run ", "run --which best ")), 14
    ),
    "DSA": Variety((f"{_PLAIN} --method dsa --steps 6 --checkpoint-every 2",), 8),
    "forgetting": Variety((f"{_DISTILL} --method forgetting --ipc 2 --selection-epochs 4 --compile off", _EVALUATE), 6),
    # One command: a program joins the others once.
    "ATOM, 2 processes": Variety((_PLAIN,), 20, processes=2),
    "ATOM, a new Python": Variety((_PLAIN, _EVALUATE), 10, start="exec"),
    "ATOM, 2 processes of torchrun": Variety((_PLAIN, _EVALUATE), 4, start="exec", processes=2),
    "ATOM, compiled": Variety((_PLAIN.replace("--compile off", "--compile on").replace("40", "10"),), 4),
}


@dataclass(frozen=True)
class Kill:
    """What came of one run.

    Attributes:
        number: it was drawn from.
        variety: of run.
        phases: that it was killed in, one for each kill.
        problem: why it did not end as one that was left alone; None if it did.
    """

    number: int
    variety: str
    phases: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True)
class Reference:
    """A run that was left alone: its result, seconds, and how often it changed a file."""

    result: Mapping[str, str]
    seconds: float
    writes: int


def try_kills(numbers: Iterable[int], seed: int, work: Path) -> Iterator[Kill]:
    """Yield what comes of each killed run; the folders of those with a problem are kept.

    Args:
        numbers: of the runs.
        seed: of all draws.
        work: where they run.
    """
    pets = work / "pets"
    write_folders(pets, counts=[("train", 60), ("test", 20)])
    references: dict[str, Reference] = {}
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
        name = draw.choices(list(VARIETIES), [variety.share for variety in VARIETIES.values()])[0]
        run = _Run(VARIETIES[name], pets)
        if name not in references:
            references[name] = _left_alone(run, Place(work / f"alone-{len(references)}"))
        phases: tuple[str, ...] = ()
        problem: str | None = None
        for attempt in range(_ATTEMPTS):
            place = Place(Path(tempfile.mkdtemp(prefix=f"{number:04d}-", dir=work)))
            phases, problem = _killed(run, place, references[name], draw, 0.5**attempt)
            if problem is None:
                shutil.rmtree(place.folder)
            if phases or problem:
                break
        yield Kill(number, name, phases, problem if phases or problem else f"done before each of {_ATTEMPTS} kills")


def _left_alone(run: _Run, place: Place) -> Reference:
    outcome = run.finish(place)
    if outcome.code:
        raise RuntimeError(f"a run that nobody kills failed: {outcome.err}")
    return Reference(contents(place.here / "run"), outcome.seconds, outcome.writes)


def _killed(
    run: _Run, place: Place, alone: Reference, draw: random.Random, share: float
) -> tuple[tuple[str, ...], str | None]:
    """Kill a run once, or up to three times, and let it finish.

    Args:
        run: begun each time.
        place: where it runs.
        alone: what it should come to.
        draw: of the moments.
        share: of the run's time from which the moments are drawn, in (0, 1].

    Returns:
        The phases of the kills that hit a running process, and what went wrong.
    """
    phases: list[str] = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        children = run.begin(place)
        # Half of the moments are drawn from all time, and half from the writes, which take little of it.
        if run.variety.start == "exec" or draw.random() < 0.5:
            ended = children[0].wait(draw.uniform(0, share * alone.seconds))
        else:
            last = max(1, round(share * alone.writes))
            ended = children[0].wait(_FINISHED_S, writes=draw.randrange(1, last + 1))
            time.sleep(draw.choice((0, 0.0002, 0.002)))
        found = None if ended else phase(place)
        for child in _victims(children, draw):
            child.kill(family=run.variety.start == "exec")
        outcomes = [_end_with_the_others(child) for child in children]
        if found and any(outcome.code == -signal.SIGKILL for outcome in outcomes):
            phases.append(found)
        for outcome in outcomes:
            if outcome.code not in _ENDS or "Traceback" in outcome.err or not outcome.in_time:
                return tuple(phases), f"killed in {phases}: exit code {outcome.code}: {outcome.err[-500:]}"
    outcome = run.finish(place)
    if outcome.code or not outcome.in_time:
        return tuple(phases), f"killed in {phases}, then exit code {outcome.code}: {outcome.err[-500:]}"
    other = differing(contents(place.here / "run"), alone.result)
    left = [str(path) for folder in (place.here, place.cache) for path in folder.rglob(".*.part")]
    if other or left:
        return tuple(phases), f"killed in {phases}: other {other}, left behind {left}"
    return tuple(phases), None


def _end_with_the_others(child: Child) -> Outcome:
    """Return how a process ends of which another was killed; torchrun stops it, if it has not met the other yet."""
    if not child.wait(_NOTICED_S):
        child.kill(signal.SIGTERM)
    return child.end(_FINISHED_S)


def _victims(children: list[Child], draw: random.Random) -> list[Child]:
    """Return which of the processes die: all, or one, which the others must notice."""
    return children if draw.random() < 0.5 else [draw.choice(children)]


class _Run:
    """A variety of runs of one data set."""

    def __init__(self, variety: Variety, pets: Path) -> None:
        self.variety = variety
        self._lines = [shlex.split(line.replace("PETS", str(pets))) for line in variety.lines]

    def begin(self, place: Place) -> list[Child]:
        """Start its processes."""
        if self.variety.start == "exec":
            return [Child(self._new_python(), place)]
        if self.variety.processes == 1:
            return [Child(atom(*self._lines), place)]
        size, port = str(self.variety.processes), str(_free_port())
        ranks = [str(rank) for rank in range(self.variety.processes)]
        common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return [Child(atom(*self._lines), place, environment={**common, "RANK": r, "LOCAL_RANK": r}) for r in ranks]

    def finish(self, place: Place) -> Outcome:
        """Run to the end; return the outcome of the main process, or of another that failed."""
        outcomes = [child.end(_FINISHED_S) for child in self.begin(place)]
        return next((outcome for outcome in outcomes if outcome.code), outcomes[0])

    def _new_python(self) -> Callable[[], int]:
        python = [sys.executable, "-m"]
        if self.variety.processes > 1:
            python += ["torch.distributed.run", "--standalone", f"--nproc-per-node={self.variety.processes}", "-m"]
        script = " && ".join(shlex.join([*python, "atom_distill", *line]) for line in self._lines)

        def work() -> int:
            os.execv("/bin/sh", ["/bin/sh", "-c", script])

        return work


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_PHASES = {
    "run/scores.json": "after the evaluation",
    "run/README.md": "evaluating",
    "run/distilled.safetensors": "writing the result",
    "run/checkpoint-*": "steps",
    "run/preprocessing.safetensors": "steps before the first checkpoint",
    "run/config.yaml": "fitting the preprocessing",
}
"""What a run is doing, by the first of these files that is there."""


def phase(place: Place) -> str:
    """Return what a run is doing, by the files that are there."""
    writing = [path.name for path in (place.here / "run").glob(".*.part")]
    if writing:
        return f"writing {writing[0].split('.')[1].rstrip('0123456789-')}"
    found = [doing for pattern, doing in _PHASES.items() if any(place.here.glob(pattern)) and _counts(place, pattern)]
    if found:
        return found[0]
    return "planning" if any(place.cache.rglob("dataset.json")) else "loading and decoding"


def _counts(place: Place, pattern: str) -> bool:
    """Return whether a file tells the phase: scores are written without any, too."""
    return pattern != "run/scores.json" or '"runs"' in (place.here / pattern).read_text()

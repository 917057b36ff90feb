"""Damaged inputs: each is drawn from its number alone, and given to a command in a process and folder of its own."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reliability.children import Place, atom, run
from reliability.damaged_data import (
    Lines,
    archives,
    caches,
    images,
    npz_files,
    saved_sets,
    tables,
    tiny_imagenet,
    zips,
)
from reliability.damaged_lines import lines
from reliability.damaged_runs import published_sets, run_folders
from reliability.verdict import problem

Make = Callable[[Path, Place, random.Random], Lines]
KINDS: dict[str, tuple[int, Make]] = {
    "images in class folders": (18, images),
    "archives of CIFAR-10": (7, archives),
    "archives of TinyImageNet": (4, tiny_imagenet),
    "npz files": (4, npz_files),
    "zip files of class folders": (5, zips),
    "parquet tables": (8, tables),
    "saved Hugging Face sets": (6, saved_sets),
    "cached sets": (8, caches),
    "files of a run folder": (18, run_folders),
    "sets to import": (10, published_sets),
    "command lines": (12, lines),
}
"""How many in a hundred, and what makes one."""


@dataclass(frozen=True)
class Case:
    """What came of one damaged input.

    Attributes:
        number: it was drawn from.
        kind: of input.
        line: the command.
        refused: whether it was refused, with exit code 2.
        problem: what the command did that none may do, or None.
        seconds, peak_mib: what it took.
        err: what it printed on standard error.
    """

    number: int
    kind: str
    line: str
    refused: bool
    problem: str | None
    seconds: float
    peak_mib: float
    err: str


def try_damaged(numbers: Iterable[int], seed: int, intact: Path, work: Path) -> Iterator[Case]:
    """Yield what comes of each damaged input; the folders of those with a problem are kept.

    Args:
        numbers: of the inputs.
        seed: of all draws.
        intact: folder of the samples.
        work: where the inputs are made.
    """
    names, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
        kind = draw.choices(names, weights)[0]
        place = Place(Path(tempfile.mkdtemp(prefix=f"{number:06d}-", dir=work)))
        made = KINDS[kind][1](intact, place, draw)
        before = _stamps(place.given)
        outcome = run(atom(*made), place)
        outcome = replace(outcome, strays=_unasked(outcome.strays, place.here, made[-1]))
        wrong = problem(outcome)
        if wrong is None and _stamps(place.given) != before:
            wrong = "changed what it was given"
        line = " ".join(made[-1])
        yield Case(number, kind, line, outcome.code == 2, wrong, outcome.seconds, outcome.peak_mib, outcome.err)
        if wrong is None:
            shutil.rmtree(place.folder, ignore_errors=True)


def _unasked(strays: tuple[str, ...], here: Path, words: list[str]) -> tuple[str, ...]:
    """Return the files that a command tried to write outside of its folders, but for where its line tells it to."""
    told = [here / Path(path) for option, path in itertools.pairwise(words) if option in ("--out", "--sheet")]
    asked = [os.path.normpath(path) for path in told]
    return tuple(stray for stray in strays if not any(Path(stray.split(" ", 1)[1]).is_relative_to(p) for p in asked))


def _stamps(folder: Path) -> Counter[tuple[str, int, int]]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return Counter((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)

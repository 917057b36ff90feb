"""Cells as tasks on Ray, on all machines of a cluster; they write their sets to a folder that all machines share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

from atom_distill.base.errors import AtomError, ConfigError
from atom_distill.base.progress import Progress, note
from atom_distill.processes.ray_cluster import Failure, RayCluster
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.cell_runner import CellRunner
from atom_distill.reproduce.cells_at_once import Task, chains


def run_on_ray(
    runner: CellRunner, tasks: Sequence[Task], keep: Callable[[Result], None], cluster: RayCluster, folder: Path
) -> None:
    """Run cells as Ray tasks; if some fail, the others are finished first.

    Args:
        runner: that has checked them.
        tasks: of `tasks_of`.
        keep: takes each result as soon as it is there.
        cluster: where they run.
        folder: of the tables, which all machines share.

    Raises:
        AtomError: a cell failed, its machine does not see the folder, or the connection to the cluster was lost.
    """
    after = {
        tasks.index(task): tasks.index(earlier) for chain in chains(tasks, runner) for earlier, task in pairwise(chain)
    }
    failures: dict[int, Failure] = {}
    note(f"{len(tasks)} cells {cluster.description}")
    with _mark(folder) as mark, Progress("reproduce", total=len(tasks), unit="cells") as bar:
        job = partial(_run, mark=mark, place=Path.cwd(), fingerprints=runner.fingerprints())
        running = cluster.run(job, tasks, cluster.put(runner.without_data()), after)
        with closing(running):
            for number, found in running:
                if isinstance(found, Failure):
                    failures[number] = found
                    note(f"{tasks[number].label} failed: {found.reason}")
                else:
                    keep(found)
                bar.advance(last=tasks[number].cell.name)
    if failures:
        raise _error(tasks, failures)


@contextmanager
def _mark(folder: Path) -> Iterator[Path]:
    """Keep a file in a folder, by which another machine knows that the folder is the same there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / f".{uuid4().hex}.mark"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _run(task: Task, runner: CellRunner, *, mark: Path, place: Path, fingerprints: Mapping[str, str]) -> Result:
    """Run a cell on the machine that it has come to.

    Args:
        task: the cell.
        runner: without data.
        mark: file by which the folder is known to be the same.
        place: folder that relative paths of data sets start from.
        fingerprints: of the data sets that the cells were checked with, by name.
    """
    if not mark.exists():
        raise ConfigError(
            f"the machine {socket.gethostname()} does not see {mark.parent}: `out` must be a folder that all machines "
            "of the cluster share"
        )
    if place.is_dir():
        os.chdir(place)
    name = task.cell.dataset
    if runner.fingerprints([name])[name] != fingerprints[name]:
        raise ConfigError(f"the data set {name} of {socket.gethostname()} has other contents than that of the driver")
    return runner.run(task.cell, task.before)


def _error(tasks: Sequence[Task], failures: dict[int, Failure]) -> AtomError:
    """Return an error that says why the first of some cells failed."""
    first = min(failures)
    more = f"; {len(failures) - 1} more failed" if len(failures) > 1 else ""
    return AtomError(f"{tasks[first].label} failed: {failures[first].reason}{more}. The others are finished and kept")

"""Cells at once, on each core another; those that share a set or continue one another's stay in turn."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from atom_distill.base.interrupt import StopRequest
from atom_distill.base.progress import note
from atom_distill.processes.workers import run_tasks
from atom_distill.reproduce.cell import Cell, Result
from atom_distill.reproduce.cell_runner import CellRunner


@dataclass(frozen=True)
class Task:
    """A cell to run.

    Attributes:
        label: for the note that it begins.
        cell: what to run.
        before: the earlier result in its place.
    """

    label: str
    cell: Cell
    before: Result | None


def tasks_of(cells: Sequence[Cell], earlier: Callable[[Cell], Result | None]) -> list[Task]:
    """Return a task for each cell.

    Args:
        cells: in the order of the table.
        earlier: from a cell to its result of an earlier command.
    """
    return [
        Task(f"cell {number} of {len(cells)}: {cell.name}", cell, earlier(cell))
        for number, cell in enumerate(cells, start=1)
    ]


def run_here(runner: CellRunner, tasks: Sequence[Task], keep: Callable[[Result], None], cores: int) -> None:
    """Run cells, in worker processes where there are several cores and cells that are independent.

    Args:
        runner: that has checked them.
        tasks: of `tasks_of`.
        keep: takes each result as soon as it is there.
        cores: that worker processes may use.

    Raises:
        AtomError: a cell failed, or Ctrl-C stopped a distillation, which can be continued.
    """
    in_turn = chains(tasks, runner)
    if cores == 1 or len(in_turn) == 1:
        for task in tasks:
            keep(_run(runner, task))
        return
    job = _RunChain(runner.without_data())
    with StopRequest() as stop:
        running = run_tasks(
            job,
            in_turn,
            len(in_turn),
            cores=cores,
            on_report=lambda _, result: keep(result),
            stop_requested=lambda: stop.received,
        )
        with closing(running):
            for _ in running:
                pass


@dataclass(frozen=True, eq=False)
class _RunChain:
    """Runs cells one after another, in a worker."""

    runner: CellRunner

    def __call__(self, chain: Sequence[Task], report: Callable[[Result], None], _: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # on a stop, a distillation saves; an evaluation ends
        for task in chain:
            report(_run(self.runner, task))


def _run(runner: CellRunner, task: Task) -> Result:
    note(task.label)
    return runner.run(task.cell, task.before)


def chains(tasks: Sequence[Task], runner: CellRunner) -> list[list[Task]]:
    """Return tasks in groups, such that those of different groups have no folder in common."""
    groups: list[tuple[set[str], list[Task]]] = []
    for task in tasks:
        folders: set[str] = set()
        cell: Cell | None = task.cell
        while cell is not None:
            folders.add(str(runner.folder(cell)))
            cell = cell.continues
        members = [task]
        for others, earlier in [group for group in groups if group[0] & folders]:
            folders |= others
            members = [*earlier, *members]
        groups = [group for group in groups if not group[0] & folders] + [(folders, members)]
    return [sorted(members, key=tasks.index) for _, members in groups]

"""CIFAR-10 at 1, 10 and 50 images per class: the methods here beside ATOM's paper, and whether its claim holds."""

from __future__ import annotations

from collections.abc import Sequence

from atom_distill.base import markdown as md
from atom_distill.distillation.methods import METHODS
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.comparisons import attention_differences
from atom_distill.reproduce.published_accuracies import published

_IPC = (1, 10, 50)
_ROWS = ("random", "herding", "dm", "datadam", "atom")
_PLAIN = frozenset({"method", "ipc", "preprocess", "steps"})
"""Settings of a cell at the papers' setting, but for the number of steps."""


def summary_table(results: Sequence[Result]) -> str:
    """Return the table and two sentences, as Markdown; empty where no cell of ATOM was run.

    Args:
        results: of `table1`. Of several for a place, that of most steps, then of most networks, is taken.
    """
    found = {(row, ipc): one for row in _ROWS for ipc in _IPC if (one := _best_founded(results, row, ipc)) is not None}
    atoms = {ipc: found["atom", ipc] for ipc in _IPC if ("atom", ipc) in found}
    if not atoms:
        return ""
    methods = [row for row in _ROWS if any((row, ipc) in found for ipc in _IPC)]
    header = ["images per class", *map(_title, methods), "ATOM in its paper", "steps of ATOM", "networks"]
    rows = [
        [str(ipc), *(_accuracy(found.get((row, ipc))) for row in methods), _published(ipc), *_budget(atoms.get(ipc))]
        for ipc in _IPC
    ]
    return f"{md.table(header, rows)}\n\n{_verdict(atoms, list(found.values()))}"


def _best_founded(results: Sequence[Result], row: str, ipc: int) -> Result | None:
    candidates = [
        one
        for one in results
        if one.row == row
        and one.settings["ipc"] == ipc
        and one.column.startswith("cifar10 ")
        and one.settings.keys() <= _PLAIN
        and (one.preprocess, one.protocol) == ("zca", "dm")
    ]
    return max(candidates, key=lambda one: (one.steps, len(one.runs)), default=None)


def _verdict(atoms: dict[int, Result], found: Sequence[Result]) -> str:
    """Return how far ATOM is from its paper, and from DM under equal conditions."""
    papers = [f"{one.mean:.1f} % at ipc {ipc} (paper: {_published(ipc)})" for ipc, one in atoms.items()]
    by = [f"at ipc {one.settings['ipc']} {difference}" for one, difference in attention_differences(found)]
    told = f"Test accuracy of ConvNet-3 in percent, protocol `dm`, ZCA, last epoch: ATOM reaches {', '.join(papers)}."
    if not by:
        return told
    return f"{told} What it adds to DM under equal conditions, in points with standard error: {'; '.join(by)}."


def _title(method: str) -> str:
    return METHODS.get(method).title


def _accuracy(result: Result | None) -> str:
    return "-" if result is None else f"{result.mean:.1f} ± {result.std:.1f}"


def _published(ipc: int) -> str:
    return f"{published('cifar10', 'atom', ipc):.1f}"


def _budget(result: Result | None) -> tuple[str, str]:
    return ("-", "-") if result is None else (str(result.steps), str(len(result.runs)))

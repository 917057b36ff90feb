"""`atom reproduce`: the papers' tables, cell by cell, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.base.files import write_text
from atom_distill.base.progress import note
from atom_distill.cli.options import Flag, JsonFlag, parse, shown
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.config.distill import Norm, Precision, Preprocess

if TYPE_CHECKING:
    from atom_distill.reproduce.cell import Budget, Cell
    from atom_distill.reproduce.results import Results
    from atom_distill.reproduce.tables import Request

_DESCRIPTION = (
    "Run a table of the papers. Every cell is kept as soon as it is found: the same command goes on where it was "
    "stopped, and another --cells or --methods adds to the table. Reduced effort is named under the table."
)
_PAPER_NETWORKS = 5
_COST_STEPS = 10


class ReproduceCommand(BaseModel):
    """Options of `atom reproduce`."""

    table: tyro.conf.Positional[Literal["table1", "cross-arch", "components", "powers", "curve", "cost"]] = Field(
        description="Which table."
    )
    out: Path = Field(default=Path("runs/reproduce"), description="Folder for sets, scores and the tables.")
    datasets: tuple[str, ...] = Field(default=("cifar10",), description="Data sets by name, or paths.")
    ipc: Annotated[tuple[int, ...], shown("the table's own")] = Field(default=(), description="Images per class.")
    methods: Annotated[tuple[str, ...], shown("the table's own")] = Field(
        default=(), description="Methods, where rows are methods."
    )
    archs: Annotated[tuple[str, ...], shown("the table's own")] = Field(
        default=(), description="Architectures, where columns are architectures."
    )
    preprocess: Annotated[tuple[Preprocess, ...], shown("the paper's")] = Field(
        default=(), description="ZCA whitening, channel normalisation, or both as two columns."
    )
    norm: Annotated[Norm | None, shown("instance")] = Field(
        default=None, description="Normalisation in the matching and the evaluated networks."
    )
    seed: int = Field(default=0, ge=0, description="Seed of distillations and evaluations.")
    cells: tuple[str, ...] = Field(default=("*",), description="Cells to run: patterns of row/column, e.g. 'atom/*'.")
    budget: float = Field(default=1.0, gt=0, le=1, description="Share of the papers' steps and networks to spend.")
    steps: Annotated[int | None, shown("the papers', by --budget")] = Field(
        default=None, ge=1, description="Updates of the images; for cost, those that are timed (steps)."
    )
    repeats: Annotated[int | None, shown("5, by --budget")] = Field(default=None, ge=1, description="Networks a cell.")
    epochs: Annotated[int | None, shown("1000")] = Field(
        default=None, ge=1, description="Length of each network's training (epochs)."
    )
    precision: Precision = Field(
        default="auto",
        description="Of the networks' convolutions; auto: bfloat16 where that is faster, which is rough on deep "
        "networks with instance norm.",
    )
    dry_run: Flag = Field(default=False, description="List the cells and stop.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom reproduce`."""
    options = parse(ReproduceCommand, command="reproduce", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.reproduce.render import grid, notes, title
    from atom_distill.reproduce.results import load_results
    from atom_distill.reproduce.tables import TABLES

    cells = _wanted(TABLES.get(options.table)(_request(options)), options.cells)
    if options.dry_run:
        _list(cells, as_json=options.json_output)
        return
    results = load_results(options.out / f"{options.table}.json", options.table)
    _run(cells, results, options)
    header, rows = grid(results.cells)
    if options.json_output:
        print_json({"table": options.table, "cells": [cell.model_dump(mode="json") for cell in results.cells]})
        return
    print_table(title(options.table), header, rows)
    for told in notes(results.accuracies()):
        print_line(f"- {told}")
    print_line(f"files: {options.out / options.table}.md, .json, .png")


def _request(options: ReproduceCommand) -> Request:
    from atom_distill.reproduce.tables import Request

    settings: dict[str, Any] = {"norm": options.norm} if options.norm else {}
    if options.seed:
        settings["seed"] = options.seed
    return Request(
        datasets=options.datasets,
        ipc=options.ipc,
        methods=options.methods,
        preprocess=options.preprocess,
        archs=options.archs,
        settings=settings,
        budget=_budget(options),
    )


def _budget(options: ReproduceCommand) -> Budget:
    from atom_distill.reproduce.cell import Budget

    repeats = options.repeats or max(1, round(options.budget * _PAPER_NETWORKS))
    return Budget(options.budget, options.steps, repeats, options.epochs, options.precision)


def _wanted(cells: list[Cell], patterns: Sequence[str]) -> list[Cell]:
    found = [cell for cell in cells if any(fnmatch(cell.name, pattern) for pattern in patterns)]
    if not found:
        some = ", ".join(repr(cell.name) for cell in cells[:4])
        raise ConfigError(f"no cell matches {' '.join(patterns)}; there are {some}, ... (--dry-run lists them)")
    return found


def _list(cells: list[Cell], *, as_json: bool) -> None:
    if as_json:
        print_json({"cells": [{"row": cell.row, "column": cell.column, **cell.settings} for cell in cells]})
        return
    rows = [
        [cell.name, cell.dataset, cell.arch, ", ".join(f"{k} {v}" for k, v in cell.settings.items())] for cell in cells
    ]
    print_table(f"{len(cells)} cells", ["cell", "data set", "network", "settings"], rows)


def _run(cells: list[Cell], results: Results, options: ReproduceCommand) -> None:
    from atom_distill.api import judge
    from atom_distill.models.registry import NetworkShape
    from atom_distill.reproduce.cost import measure
    from atom_distill.reproduce.plot import plot
    from atom_distill.reproduce.render import markdown
    from atom_distill.reproduce.runner import Runner

    shape = NetworkShape(norm=options.norm)
    runner = Runner(options.out, _budget(options), judge=judge, arch_shape=shape, seed=options.seed)
    path = options.out / f"{options.table}.json"
    for number, cell in enumerate(cells, start=1):
        note(f"cell {number} of {len(cells)}: {cell.name}")
        if options.table == "cost":
            results.add(measure(cell, options.steps or _COST_STEPS))
        else:
            results.add(runner.run(cell, results.accuracy(cell.row, cell.column)))
        results.save(path)
        write_text(path.with_suffix(".md"), markdown(options.table, results.cells))
        if results.accuracies():
            plot(options.table, results.accuracies(), path.with_suffix(".png"))

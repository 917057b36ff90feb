"""`atom reproduce`: the papers' tables, cell by cell, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import BaseModel, Field

from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.files import write_text
from atom_distill.base.network_shape import Norm
from atom_distill.base.progress import note
from atom_distill.cli.options import Flag, JsonFlag, parse, shown
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.config.distill import Precision, Preprocess

if TYPE_CHECKING:
    from atom_distill.reproduce.cell import Budget, Cell
    from atom_distill.reproduce.results import Results
    from atom_distill.reproduce.tables import Request

_DESCRIPTION = (
    "Run a table of the papers. Every cell is kept as soon as it is found: the same command goes on where it was "
    "stopped, and another --cells or --methods adds to the table. Reduced effort is named under the table."
)
_PAPER_NETWORKS = 5
_SUFFIXES = (".json", ".md", ".png")
"""Of a table's files; the first is what a later command goes on from."""
_COST_STEPS = 10


class ReproduceCommand(BaseModel):
    """Options of `atom reproduce`."""

    table: tyro.conf.Positional[Literal["table1", "cross-arch", "components", "powers", "curve", "cost"]] = Field(
        description="Which table."
    )
    out: Path = Field(default=Path("runs/reproduce"), description="Folder for sets, scores and the tables.")
    datasets: tuple[str, ...] = Field(default=("cifar10",), min_length=1, description="Data sets by name, or paths.")
    ipc: Annotated[tuple[int, ...], shown("the table's own")] = Field(default=(), description="Images per class.")
    methods: Annotated[tuple[str, ...], shown("the table's own")] = Field(
        default=(), description="Methods, where rows are methods."
    )
    archs: Annotated[tuple[str, ...], shown("the table's own")] = Field(
        default=(), description="Architectures, where columns are architectures."
    )
    preprocess: Annotated[tuple[Preprocess, ...], shown("the paper's")] = Field(
        default=(), description="ZCA whitening, channel normalization, or both as two columns."
    )
    norm: Annotated[Norm | None, shown("instance")] = Field(
        default=None, description="Normalization in the matching and the evaluated networks."
    )
    seed: int = Field(default=0, ge=0, description="Seed of distillations and evaluations.")
    cells: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="Cells to run: patterns of row/column, e.g. 'atom/*'."
    )
    budget: float = Field(default=1.0, gt=0, le=1, description="Share of the papers' steps and networks to spend.")
    steps: Annotated[int | None, shown("the papers', by --budget")] = Field(
        default=None, ge=1, description="Steps of each distillation; for cost, those that are timed (steps)."
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

    _refuse_stray_options(options)
    cells = _wanted(TABLES.get(options.table)(_request(options)), options.cells)
    if options.dry_run:
        _list(cells, as_json=options.json_output)
        return
    _refuse_foreign_files(options)
    results = load_results(options.out / f"{options.table}.json", options.table)
    _run(cells, results, options)
    header, rows = grid(results.cells)
    if options.json_output:
        print_json({**results.model_dump(mode="json"), "notes": notes(results.cells)})
        return
    print_table(title(options.table), header, rows)
    for told in notes(results.cells):
        print_line(f"- {told}")
    written = [suffix for suffix in _SUFFIXES if (options.out / f"{options.table}{suffix}").exists()]
    print_line(f"files: {options.out / options.table}{', '.join(written)}")


def _refuse_stray_options(options: ReproduceCommand) -> None:
    """Refuse what would be ignored: a user who gives it expects it to count."""
    effort = {"budget", "repeats", "epochs", "precision"}
    unused = {
        "table1": {"archs"},
        "curve": {"archs"},
        "components": {"archs", "methods"},
        "powers": {"archs", "methods"},
        "cost": {"archs", *effort},
    }
    for name in sorted(unused.get(options.table, set()) & options.model_fields_set):
        if getattr(options, name) != ReproduceCommand.model_fields[name].default:
            raise ConfigError(f"--{name} changes nothing in {options.table}: leave it out")


def _refuse_foreign_files(options: ReproduceCommand) -> None:
    """Refuse a place where something lies that no earlier command of ours has put there."""
    if options.out.exists() and not options.out.is_dir():
        raise ArtifactError(f"--out {options.out} is a file; give a folder")
    paths = [options.out / f"{options.table}{suffix}" for suffix in _SUFFIXES]
    foreign = [path for path in paths if path.exists() and not (paths[0].is_file() and path.is_file())]
    if foreign:
        raise ArtifactError(f"{foreign[0]} is not of a table that was begun here; move it away, or give another --out")


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
        facts = ({"row": c.row, "column": c.column, "dataset": c.dataset, "arch": c.arch} for c in cells)
        print_json({"cells": [{**told, **cell.settings} for told, cell in zip(facts, cells, strict=True)]})
        return
    rows = [
        [cell.name, cell.dataset, cell.arch, ", ".join(f"{k} {v}" for k, v in cell.settings.items())] for cell in cells
    ]
    print_table(f"{len(cells)} cells", ["cell", "data set", "network", "settings"], rows)


def _run(cells: list[Cell], results: Results, options: ReproduceCommand) -> None:
    from atom_distill.base.network_shape import NetworkShape
    from atom_distill.reproduce.cost import measure
    from atom_distill.reproduce.plot import plot
    from atom_distill.reproduce.render import markdown
    from atom_distill.reproduce.runner import Runner

    shape = NetworkShape(norm=options.norm)
    runner = Runner(options.out, _budget(options), arch_shape=shape, seed=options.seed)
    path = options.out / f"{options.table}.json"
    runner.check(cells)
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

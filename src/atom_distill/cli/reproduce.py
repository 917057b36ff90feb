"""`atom reproduce`: the papers' tables, cell by cell, beside the published figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

from atom_distill.base.errors import ArtifactError, ConfigError, InterruptedRunError
from atom_distill.base.files import write_text
from atom_distill.base.folder_lock import one_at_a_time
from atom_distill.base.network_shape import Norm
from atom_distill.base.progress import note
from atom_distill.base.writable import require_writable
from atom_distill.cli.options import CommandOptions, Flag, JsonFlag, group, parse, shown
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.cli.ray_options import RayOptions
from atom_distill.config.distill import Precision, Preprocess
from atom_distill.reproduce.titles import TITLES, TableName

if TYPE_CHECKING:
    from atom_distill.reproduce.cell import Cell, Effort, Result
    from atom_distill.reproduce.cost import Cost
    from atom_distill.reproduce.grids import Request
    from atom_distill.reproduce.results import Results

_DESCRIPTION = (
    "Run a table of the papers and show it next to the published figures. Every cell is saved as soon as it is "
    "finished: the same command continues where it stopped (cost measures anew), and other --cells or --methods add to "
    "the table. Notes under the table name every departure from the papers."
)
_SUFFIXES = (".json", ".md", ".png")
"""Of a table's files; a later command continues from the first."""
_COST_STEPS = 10
_UNUSED = {
    "table1": {"archs", "protocols"},
    "curve": {"archs", "protocols"},
    "components": {"archs", "protocols", "methods"},
    "powers": {"archs", "protocols", "methods"},
    "lambda": {"archs", "protocols", "methods"},
    "changes": {"archs", "protocols"},
    "cost": {"archs", "protocols", "effort", "repeats", "epochs", "precision"},
}
"""Options that change nothing in a table."""


class WorkerOptions(RayOptions):
    """Where the cells run."""

    on: Literal["process", "ray"] = Field(
        default="process", description="Run cells on this machine, one per core, or on Ray."
    )
    threads: Annotated[int | None, shown("1")] = Field(
        default=None,
        ge=1,
        description="Processor cores per cell on Ray; the number may change accuracies by rounding.",
    )


class ReproduceCommand(CommandOptions):
    """Options of `atom reproduce`."""

    table: tyro.conf.Positional[TableName] = Field(description="Which table.")
    out: Path = Field(default=Path("runs/reproduce"), description="Folder for sets, scores and tables.")
    datasets: tuple[str, ...] = Field(default=("cifar10",), min_length=1, description="Data sets: names or paths.")
    ipc: Annotated[tuple[int, ...], shown("the table's own")] = Field(default=(), description="Images per class.")
    methods: Annotated[tuple[str, ...], shown("the table's own")] = Field(
        default=(),
        description="Methods, in tables whose rows are methods; in table1 and cross-arch also best: ATOM with the "
        "preset of this name, which has its own preprocessing.",
    )
    archs: Annotated[tuple[str, ...], shown("the table's own")] = Field(
        default=(), description="Architectures, in tables whose columns are architectures."
    )
    protocols: Annotated[tuple[str, ...], shown("dm for all")] = Field(
        default=(),
        description="How the networks of an architecture are trained, in tables whose columns are architectures, e.g. "
        "vit=vit or 'alexnet=dm(lr=0.003)'.",
    )
    preprocess: Annotated[tuple[Preprocess, ...], shown("the paper's")] = Field(
        default=(), description="ZCA whitening, channel normalization, or both as two columns."
    )
    norm: Annotated[Norm | None, shown("instance")] = Field(
        default=None, description="Normalization in the matching and the evaluated networks."
    )
    preset: Annotated[Literal["fast"] | None, shown("the paper's settings")] = Field(
        default=None, description="Settings of the distillations; fast is for less time."
    )
    seed: int = Field(default=0, ge=0, description="Seed of distillations and evaluations.")
    cells: tuple[str, ...] = Field(
        default=("*",), min_length=1, description="Cells to run: patterns of row/column, e.g. 'atom/*'."
    )
    effort: float = Field(default=1.0, gt=0, le=1, description="Share of the papers' steps and networks.")
    steps: Annotated[int | None, shown("the papers', by --effort")] = Field(
        default=None, ge=1, description="Steps of each distillation; in the table cost, timed steps (steps)."
    )
    repeats: Annotated[int | None, shown("5, by --effort")] = Field(
        default=None, ge=1, description="Networks per cell."
    )
    epochs: Annotated[int | None, shown("1000")] = Field(
        default=None, ge=1, description="Length of each network's training (epochs)."
    )
    precision: Precision = Field(
        default="auto",
        description="Precision of convolutions; auto: bfloat16 where that is faster, which is inaccurate for deep "
        "networks with instance norm.",
    )
    dry_run: Flag = Field(default=False, description="List the cells and stop.")
    workers: WorkerOptions = group(WorkerOptions)
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom reproduce`."""
    options = parse(ReproduceCommand, command="reproduce", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.reproduce.cell_runner import CellRunner
    from atom_distill.reproduce.grids import TABLES
    from atom_distill.reproduce.headlines import headline
    from atom_distill.reproduce.results import load_results
    from atom_distill.reproduce.table_layout import grid
    from atom_distill.reproduce.table_notes import notes

    _refuse_unused_options(options)
    if options.workers.on == "process":
        options.workers.refuse_ray_options()
        if options.workers.threads is not None:
            raise ConfigError("--threads is for cells on Ray; on this machine, OMP_NUM_THREADS is the number of cores")
    elif options.table == "cost":
        raise ConfigError("cost is measured on this machine, with nothing beside it: leave out --on ray")
    cells = _matching(TABLES.get(options.table)(_request(options)), options.cells)
    if options.dry_run:
        CellRunner(options.out, _effort(options), seed=options.seed).check_names(cells)
        _list(cells, as_json=options.json_output)
        return
    _refuse_foreign_files(options)
    require_writable(options.out, "out")
    path = options.out / f"{options.table}.json"
    _run(cells, load_results(path, options.table), options)
    results = load_results(path)
    if options.json_output:
        print_json({**results.model_dump(mode="json"), "notes": notes(results.cells)})
        return
    print_table(TITLES[options.table], *grid(results.cells))
    if shows := headline(options.table, results.cells):
        print_line(shows)
    for line in notes(results.cells):
        print_line(f"- {line}")
    written = [suffix for suffix in _SUFFIXES if (options.out / f"{options.table}{suffix}").exists()]
    print_line(f"files: {options.out / options.table}{', '.join(written)}")


def _refuse_unused_options(options: ReproduceCommand) -> None:
    """Refuse options that would change nothing: a user who gives one expects it to count."""
    for name in sorted(_UNUSED.get(options.table, set()) & options.model_fields_set):
        if getattr(options, name) != ReproduceCommand.model_fields[name].default:
            raise ConfigError(f"--{name} changes nothing in {options.table}: leave it out")


def _refuse_foreign_files(options: ReproduceCommand) -> None:
    """Refuse to write over files that no earlier command has written."""
    if options.out.exists() and not options.out.is_dir():
        raise ArtifactError(f"--out {options.out} is a file; give a folder")
    paths = [options.out / f"{options.table}{suffix}" for suffix in _SUFFIXES]
    foreign = [path for path in paths if path.exists() and not (paths[0].is_file() and path.is_file())]
    if foreign:
        raise ArtifactError(f"{foreign[0]} is not of a table that was begun here; move it away, or give another --out")


def _request(options: ReproduceCommand) -> Request:
    from atom_distill.reproduce.grids import Request

    given = {"preset": options.preset, "norm": options.norm, "seed": options.seed}
    return Request(
        **options.model_dump(include={"datasets", "ipc", "methods", "preprocess", "archs"}),
        protocols=_protocols(options.protocols),
        settings={name: value for name, value in given.items() if value},
        effort=_effort(options),
    )


def _protocols(given: Sequence[str]) -> dict[str, str]:
    """Return the protocols by architecture, from words like vit=vit."""
    pairs = [word.partition("=") for word in given]
    if wrong := [arch for arch, equals, protocol in pairs if not (arch and equals and protocol)]:
        raise ConfigError(f"--protocols takes words like vit=vit, not {wrong[0]!r}")
    return {arch: protocol for arch, _, protocol in pairs}


def _effort(options: ReproduceCommand) -> Effort:
    from atom_distill.reproduce.cell import Effort

    return Effort(options.effort, options.steps, options.repeats, options.epochs, options.precision)


def _matching(cells: list[Cell], patterns: Sequence[str]) -> list[Cell]:
    matching = [cell for cell in cells if any(fnmatch(cell.name, pattern) for pattern in patterns)]
    if not matching:
        some = ", ".join(repr(cell.name) for cell in cells[:4])
        raise ConfigError(f"no cell matches {' '.join(patterns)}; there are {some}, ... (--dry-run lists them)")
    return matching


def _list(cells: list[Cell], *, as_json: bool) -> None:
    if as_json:
        places = ({"row": c.row, "column": c.column, "dataset": c.dataset, "arch": c.arch} for c in cells)
        print_json({"cells": [{**place, **cell.settings} for place, cell in zip(places, cells, strict=True)]})
        return
    rows = [
        [cell.name, cell.dataset, cell.arch, ", ".join(f"{k} {v}" for k, v in cell.settings.items())] for cell in cells
    ]
    print_table(f"{len(cells)} cells", ["cell", "data set", "network", "settings"], rows)


def _run(cells: list[Cell], results: Results, options: ReproduceCommand) -> None:
    """Run cells, and write the table's files after each.

    Args:
        cells: what to run.
        results: of earlier commands; another command may add to the table meanwhile.
        options: of this one.
    """
    from atom_distill.base.device import pick_device
    from atom_distill.processes.ranks import join
    from atom_distill.processes.ray_cluster import RayCluster
    from atom_distill.reproduce.cell_runner import CellRunner
    from atom_distill.reproduce.cells_at_once import run_here, tasks_of
    from atom_distill.reproduce.cells_on_ray import run_on_ray
    from atom_distill.reproduce.cost import measure
    from atom_distill.reproduce.plot import plot
    from atom_distill.reproduce.results import load_results
    from atom_distill.reproduce.table_layout import markdown

    on_ray = options.workers.on == "ray"
    folder = options.out.resolve() if on_ray else options.out
    runner = CellRunner(folder, _effort(options), seed=options.seed)
    path = options.out / f"{options.table}.json"
    places = dict.fromkeys((cell.row, cell.column) for cell in [*results.cells, *cells])
    order = {place: number for number, place in enumerate(places)}

    def keep(result: Result | Cost) -> None:
        options.out.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path.with_name(f".{path.name}.lock")):
            now = load_results(path, options.table)  # including what another command or a manual edit has added
            now.add(result)
            # Several at once finish in any order; those of another command come last.
            now.cells.sort(key=lambda cell: order.get((cell.row, cell.column), len(order)))
            now.save(path)
            write_text(path.with_suffix(".md"), markdown(options.table, now.cells))
            if now.accuracies():
                plot(options.table, now.accuracies(), path.with_suffix(".png"))

    runner.check(cells)
    if options.table == "cost":
        with _noting_that_costs_start_over():
            for number, cell in enumerate(cells, start=1):
                note(f"cell {number} of {len(cells)}: {cell.name}")
                keep(measure(cell, options.steps or _COST_STEPS))
        return
    tasks = tasks_of(cells, lambda cell: results.accuracy(cell.row, cell.column))
    if on_ray:
        settings = options.workers.ray_settings(threads=options.workers.threads or 1)
        with closing(RayCluster(settings, caller="--on ray")) as cluster:
            run_on_ray(runner, tasks, keep, cluster, folder)
        return
    cores = join(use_workers=True).cores if pick_device("auto").type == "cpu" else 1
    run_here(runner, tasks, keep, cores)


@contextmanager
def _noting_that_costs_start_over() -> Iterator[None]:
    """Say at Ctrl-C that the same command measures every cell again."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "stopped; finished cells are kept. The same command measures all anew; --cells chooses those to measure"
        ) from None

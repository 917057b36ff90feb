"""`atom search`: rank architectures on small proxies of the data, and measure how good each ranking is."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import Field

from atom_distill.cli.options import CommandOptions, DataOptions, Flag, JsonFlag, group, parse, shown
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.cli.ray_options import RayOptions
from atom_distill.cli.runs import MOVED_TO_HELP, MovedTo, dataset_of, load_named

if TYPE_CHECKING:
    from atom_distill.search.proxies import SearchData
    from atom_distill.search.search_result import SearchResult
    from atom_distill.search.space import Candidate, Unfit
    from atom_distill.search.workers import Workers

_DESCRIPTION = (
    "Train many architectures on small stand-ins (proxies) for a data set - distilled runs, random images, a short "
    "training on the whole set - and rank them. With the proxy 'whole', each is trained on the whole set too, and the "
    "rankings are compared with that. Finished trials are kept: the same command continues a stopped search."
)
_ON_RAY = ("auto", "cpu", "cuda")
"""Devices that Ray takes: it chooses the GPU itself, and knows no others."""


class WorkerOptions(RayOptions):
    """Where the trials run."""

    on: Literal["auto", "process", "ray"] = Field(
        default="auto",
        description="Run trials on Ray, or on this machine, one per core; auto: on Ray if it can be started "
        "and takes the --device.",
    )
    threads: int = Field(
        default=1, ge=1, description="Processor cores per trial; the number may change accuracies by rounding."
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:N, mps, or auto for the best available.")


class SearchCommand(CommandOptions):
    """Options of `atom search`."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(one or more)")
    ] = Field(description="Distilled runs, all of one data set: folders, or names of sets that `atom sets` lists.")
    proxies: Annotated[str, shown("random, each run's method, early-stop, whole")] = Field(
        default="",
        description="What to train on, separated by commas: random, early-stop, whole, and methods of the runs.",
    )
    space: str = Field(
        default="convnets-720",
        description="Architectures: convnets-720, a YAML or JSON file, or package.module:function.",
    )
    sample: Annotated[int | None, shown("all")] = Field(
        default=None, description="Number of architectures to draw at random from --space."
    )
    epochs: int = Field(default=200, ge=1, description="Epochs of training on distilled or random images.")
    whole_epochs: int = Field(default=100, ge=1, description="Epochs of training on the whole set.")
    halving: Flag = Field(
        default=False,
        description="Successive halving: all architectures get a ninth of the epochs, the best third a third, "
        "the best ninth all.",
    )
    holdout: float = Field(
        default=0.1, gt=0, lt=1, description="Share of the training images to hold out and rank architectures by."
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random draw.")
    out: Path = Field(default=Path("runs/search"), description="Folder for finished trials and the tables.")
    dry_run: Flag = Field(default=False, description="List the architectures and stop.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")
    workers: WorkerOptions = group(WorkerOptions)
    moved_to: MovedTo = Field(default=None, description=MOVED_TO_HELP)
    data: DataOptions = group(DataOptions)


def command(arguments: Sequence[str]) -> None:
    """Run `atom search`."""
    options = parse(SearchCommand, command="search", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.search.proxies import name_runs, proxy_names
    from atom_distill.search.run_search import SearchSettings, search_architectures
    from atom_distill.search.space import choose_candidates, find_space

    sys.path.append(str(Path.cwd()))  # where the module of a --space may be
    runs = [load_named(place) for place in options.runs]
    names = [name.strip() for name in options.proxies.split(",") if name.strip()]
    settings = SearchSettings(
        proxies=proxy_names(names, name_runs(runs)),
        **options.model_dump(include={"sample", "epochs", "whole_epochs", "halving", "holdout", "seed"}),
    )
    dataset, space = dataset_of(runs[0], options.data, options.moved_to), find_space(options.space)
    if options.dry_run:
        found = choose_candidates(
            space, dataset.image_shape, dataset.num_classes, sample=options.sample, seed=options.seed
        )
        _list(*found, as_json=options.json_output)
        return
    workers = _workers(options.workers)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for results; Ray prints there which workers died
        result = search_architectures(runs, dataset, space, settings, out=options.out, workers=workers)
    _print_result(result, options)


def _list(candidates: list[Candidate], unfit: list[Unfit], *, as_json: bool) -> None:
    if as_json:
        refused = [{"architecture": one.candidate.name, "reason": one.reason} for one in unfit]
        print_json({"architectures": [candidate.name for candidate in candidates], "unfit": refused})
        return
    print_table(f"{len(candidates)} architectures", ["architecture"], [[candidate.name] for candidate in candidates])
    of_reason: dict[str, list[str]] = {}
    for one in unfit:
        of_reason.setdefault(one.reason, []).append(one.candidate.name)
    for reason, names in of_reason.items():
        which = f"does not fit: {names[0]}" if len(names) == 1 else f"{len(names)} do not fit, e.g. {names[0]}"
        print_line(f"- {which}: {reason}")


def _print_result(result: SearchResult, options: SearchCommand) -> None:
    from atom_distill.search.search_report import HEADER, as_json, notes, rows

    if options.json_output:
        print_json(as_json(result))
        return
    qualities = result.proxy_qualities()
    print_table("architecture search", HEADER, rows(qualities))
    for one in qualities:  # the table may be cut to the terminal's width
        accuracy = f", test accuracy {one.chosen_accuracy:.1f} %" if one.chosen_accuracy is not None else ""
        print_line(f"{one.proxy} ranks first: {one.chosen or 'nothing'}{accuracy}")
    for sentence in notes(result):
        print_line(f"- {sentence}")
    picture = ", search.png" if result.plan.trains_all_on_whole else ""
    print_line(f"files: {options.out}: search.md, search.json, trials.csv{picture}")


def _workers(options: WorkerOptions) -> Callable[[SearchData], Workers]:
    """Return what makes the workers; wrong options are refused here, before the search begins."""
    from atom_distill.base.device import pick_device
    from atom_distill.base.optional import is_available
    from atom_distill.processes.ranks import join
    from atom_distill.search.workers import InProcess, OnRay, on_ray_or_here

    cores = join(use_workers=True).cores
    wants_ray = options.on == "ray" or (options.on == "auto" and options.of_ray())
    if wants_ray or (options.on == "auto" and options.device in _ON_RAY and is_available("ray")):
        settings = options.ray_settings(threads=options.threads, device=options.device)
        return (
            partial(OnRay, settings=settings) if wants_ray else partial(on_ray_or_here, settings=settings, cores=cores)
        )
    options.refuse_ray_options()
    pick_device(options.device)
    return partial(InProcess, device=options.device, threads=options.threads, cores=cores)

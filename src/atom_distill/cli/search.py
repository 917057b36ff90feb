"""`atom search`: rank architectures on small proxies of the data, and see what the ranking is worth."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.cli.options import DataOptions, Flag, JsonFlag, parse, shown
from atom_distill.cli.output import print_json, print_line, print_table
from atom_distill.cli.runs import dataset_of

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.data.dataset import ImageDataset
    from atom_distill.search.data import SearchData
    from atom_distill.search.setup import SearchSettings
    from atom_distill.search.space import Candidate, Space, Unfit
    from atom_distill.search.workers import Workers

_DESCRIPTION = (
    "Train many architectures on small stand-ins for a data set - distilled runs, random images, the beginning of a "
    "training on the whole set - and rank them; with the proxy 'whole' every one is trained on the whole set too, "
    "which tells what each ranking is worth. Finished trials are kept: the same command goes on where it was stopped."
)


class WorkerOptions(BaseModel):
    """Who runs the trials."""

    on: Literal["auto", "process", "ray"] = Field(
        default="auto", description="Ray, or this process; auto: Ray where it is installed."
    )
    ray_address: Annotated[str | None, shown("a Ray of this machine's own")] = Field(
        default=None, description="A running Ray cluster, e.g. auto or ray://host:10001."
    )
    threads: int = Field(
        default=1, ge=1, description="Processor cores a trial; another number may change accuracies by rounding."
    )
    gpus_per_trial: Annotated[float | None, shown("a quarter, where there is a GPU")] = Field(
        default=None, ge=0, description="Share of a GPU a trial, on Ray."
    )
    device: str = Field(default="auto", description="cpu, cuda, cuda:N, mps, or auto for the best there is.")
    dashboard: Flag = Field(default=False, description="Show Ray's dashboard.")


class SearchCommand(BaseModel):
    """Options of `atom search`."""

    runs: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN ...", help_behavior_hint="(one or more)")
    ] = Field(description="Folders of distilled runs, all of one data set.")
    proxies: Annotated[str, shown("random, each run's method, early-stop, whole")] = Field(
        default="",
        description="What to train on, joined by commas: random, early-stop, whole, and methods of the runs.",
    )
    space: str = Field(
        default="convnets-720",
        description="Architectures: convnets-720, a YAML or JSON file, or package.module:function.",
    )
    sample: Annotated[int | None, shown("all")] = Field(default=None, description="Architectures drawn from the space.")
    epochs: int = Field(default=200, ge=1, description="Length of a training on a proxy (epochs).")
    whole_epochs: int = Field(default=100, ge=1, description="Length of a training on the whole set (epochs).")
    halving: Flag = Field(
        default=False, description="Successive halving: train all for a ninth of the epochs, a third of them on."
    )
    holdout: float = Field(default=0.1, gt=0, lt=1, description="Share of the training images to choose by.")
    seed: int = Field(default=0, ge=0, description="Seed of every random draw.")
    out: Path = Field(default=Path("runs/search"), description="Folder for finished trials and the tables.")
    dry_run: Flag = Field(default=False, description="List the architectures and stop.")
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")
    workers: WorkerOptions = Field(default_factory=WorkerOptions)
    data: DataOptions = Field(default_factory=DataOptions)


def command(arguments: Sequence[str]) -> None:
    """Run `atom search`."""
    options = parse(SearchCommand, command="search", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.search.setup import SearchSettings, candidates_for, name_runs, proxy_names
    from atom_distill.search.space import find_space

    sys.path.append(str(Path.cwd()))  # where the module of a --space may lie
    runs = [DistilledDataset.load(folder) for folder in options.runs]
    settings = SearchSettings(
        proxies=proxy_names(_names(options.proxies), name_runs(runs)),
        **options.model_dump(include={"sample", "epochs", "whole_epochs", "halving", "holdout", "seed"}),
    )
    dataset, space = dataset_of(runs[0], options.data), find_space(options.space)
    if options.dry_run:
        _list(*candidates_for(space, dataset, settings), as_json=options.json_output)
        return
    _search(options, settings, runs, dataset, space)


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def _list(candidates: list[Candidate], unfit: list[Unfit], *, as_json: bool) -> None:
    if as_json:
        refused = [{"architecture": one.candidate.name, "reason": one.reason} for one in unfit]
        print_json({"architectures": [candidate.name for candidate in candidates], "unfit": refused})
        return
    print_table(f"{len(candidates)} architectures", ["architecture"], [[candidate.name] for candidate in candidates])
    for one in unfit:
        print_line(f"- does not fit: {one.candidate.name}: {one.reason}")


def _search(
    options: SearchCommand,
    settings: SearchSettings,
    runs: list[DistilledDataset],
    dataset: ImageDataset,
    space: Space,
) -> None:
    from atom_distill.search.report import HEADER, as_json, notes, rows
    from atom_distill.search.setup import search_architectures

    workers = _workers(options.workers)
    with contextlib.redirect_stdout(sys.stderr):  # standard output is for results, and Ray says there who died
        search = search_architectures(runs, dataset, space, settings, out=options.out, workers=workers)
    about = (search.plan, search.outcomes, search.unfit, search.place)
    if options.json_output:
        print_json(as_json(*about))
        return
    found = search.verdicts()
    print_table("architecture search", HEADER, rows(found))
    for one in found:  # the table may be cut to the terminal's width
        accuracy = (
            "" if one.chosen_accuracy is None else f", {one.chosen_accuracy:.1f} % after training on the whole set"
        )
        print_line(f"{one.proxy} ranks first: {one.chosen or 'nothing'}{accuracy}")
    for told in notes(*about):
        print_line(f"- {told}")
    picture = ", search.png" if search.plan.knows_truth else ""
    print_line(f"files: {options.out}: search.md, search.json, trials.csv{picture}")


def _workers(options: WorkerOptions) -> Callable[[SearchData], Workers]:
    """Say who is to run the trials; wrong options show here, before the images are loaded into anything."""
    from atom_distill.base.optional import is_available

    on_ray = options.on == "ray" or (options.on == "auto" and (options.ray_address or is_available("ray")))
    if on_ray:
        from atom_distill.search.ray_workers import OnRay, RaySettings

        settings = RaySettings(
            options.ray_address, options.device, options.threads, options.gpus_per_trial, options.dashboard
        )
        return partial(OnRay, settings=settings)
    stray = [name for name in ("ray_address", "gpus_per_trial", "dashboard") if getattr(options, name)]
    if stray:
        raise ConfigError(f"--{stray[0].replace('_', '-')} is for Ray: give --on ray, or leave it out")
    from atom_distill.base.device import pick_device
    from atom_distill.search.workers import InProcess

    pick_device(options.device)
    return partial(InProcess, device=options.device, threads=options.threads)

"""What commands share that read a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.cli.options import DataOptions, given

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset, Which
    from atom_distill.data.dataset import ImageDataset


MovedTo = Annotated[
    Path | None, tyro.conf.arg(name="data", metavar="PATH", help_behavior_hint="(default: where it was)")
]
"""`--data`, with one meaning in all commands that read a run."""
RUN_HELP = "Run folder, or the name of a set that comes with the package (`atom sets`)"
MOVED_TO_HELP = "Where the run's data set is now, if it has moved; its contents must be unchanged."


def run_folder(place: str | Path) -> Path:
    """Return the folder of a run, or that of a set that comes with the package; a run's folder takes precedence.

    Args:
        place: a folder, or the name of a set. What is neither is returned as a folder.
    """
    from atom_distill.artifact.bundled import bundled_folder, bundled_names
    from atom_distill.artifact.folder import holds_run

    named = not holds_run(Path(place)) and str(place) in bundled_names()
    return bundled_folder(str(place)) if named else Path(place)


def load_named(place: str | Path, which: Which = "last") -> DistilledDataset:
    """Return the set of a run folder, or one that comes with the package, by its name.

    Raises:
        ArtifactError: it is neither, or the run is unfinished or damaged.
    """
    from atom_distill.artifact.bundled import load_run
    from atom_distill.artifact.folder import holds_run

    folder = run_folder(place)
    if not holds_run(folder):
        raise ArtifactError(
            f"{place} is not a run folder (no config.yaml in it), nor one of the sets that `atom sets` lists; "
            "`atom distill` makes a run"
        )
    return load_run(folder, which)


def head_of(distilled: DistilledDataset, ipc: int | None, bytes_per_class: int | None) -> DistilledDataset:
    """Return the set of the first stored images of each class, by their number or by the size of all.

    Raises:
        ConfigError: both are given, or there is no such set.
    """
    if bytes_per_class is None:
        assert ipc is not None
        return distilled.head(ipc)
    if ipc is not None:
        raise ConfigError("--ipc and --bytes both say how many images: give one")
    return distilled.head_within(bytes_per_class)


def dataset_of(distilled: DistilledDataset, options: DataOptions, moved_to: Path | None = None) -> ImageDataset:
    """Load the data set that a run was distilled from, with other options where they are given.

    Args:
        distilled: the run.
        options: departures from those with which the run loaded its data set.
        moved_to: where the data set is now, if that is not where it was.

    Raises:
        ConfigError: the run does not say what it was distilled from.
        DataError: the data set is not there, or not the same any more.
    """
    from atom_distill.api import load_dataset
    from atom_distill.data.original import request_of, require_original, require_present

    if not distilled.dataset.get("request"):
        raise ConfigError(
            f"{distilled.folder} does not say what it was distilled from: `atom evaluate` can be told with --dataset, "
            "other commands need a run that was distilled from a loaded set"
        )
    request = request_of(distilled.dataset, moved_to)
    require_present(request)
    # A switch that is off says nothing: what the run left out stays left out.
    changes = {name: value for name, value in given(options).items() if value is not False}
    if options.classes is not None:
        changes["classes"] = options.classes_wanted
    if moved_to is not None or not changes:
        dataset = require_original(load_dataset(**request), distilled.dataset)
    return load_dataset(**{**request, **changes}) if changes else dataset

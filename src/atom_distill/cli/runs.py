"""What commands share that read a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import note
from atom_distill.cli.options import DataOptions, given

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.data.dataset import ImageDataset


def dataset_of(distilled: DistilledDataset, options: DataOptions) -> ImageDataset:
    """Load the data set that a run was distilled from, with other options where they are given.

    Raises:
        ConfigError: the run does not say what it was distilled from.
    """
    from atom_distill.api import load_dataset

    request = dict(distilled.dataset.get("request", {}))
    if not request:
        raise ConfigError(
            f"{distilled.folder} does not say what it was distilled from: `atom evaluate` can be told with --dataset, "
            "other commands need a run that was distilled from a loaded set"
        )
    # A switch that is off says nothing: what the run left out stays left out.
    changes = {name: value for name, value in given(options).items() if value is not False}
    if options.classes is not None:
        changes["classes"] = options.classes_wanted
    dataset = load_dataset(**{**request, **changes})
    if not changes and dataset.fingerprint != distilled.dataset.get("fingerprint"):
        note(f"{dataset.name} has changed since it was distilled: its images or classes are not the same")
    return dataset

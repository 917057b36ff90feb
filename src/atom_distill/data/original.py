"""The data set that a result was made from: how to load it again, and whether it is still the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.named import has_copies, is_named

_SIZES = {"train_size": "training images", "test_size": "test images", "classes": "classes"}
"""Facts of `ImageDataset.identity` that say in which way two sets differ."""


def request_of(described: Mapping[str, Any], moved_to: Path | None = None) -> dict[str, Any]:
    """Return the arguments of `load_dataset` that load the data set of a result.

    A named set is looked for in the usual places if the copy that the result was made from is gone.

    Args:
        described: `ImageDataset.identity` as the result holds it.
        moved_to: where the set is now, if that is not where it was.

    Raises:
        ConfigError: there is nothing at `moved_to`.
        DataError: the set was made in memory.
    """
    request = described.get("request")
    if not isinstance(request, Mapping) or not request:
        raise DataError("the run does not say what it was distilled from: its data set was made in memory")
    if is_named(request.get("name_or_path", "")):  # older versions recorded it for these sets, too
        request = {name: value for name, value in request.items() if name != "skip_unreadable"}
    if moved_to is None:
        copy = request.get("data_dir")
        is_gone = copy is not None and not Path(str(copy)).exists()
        return {name: value for name, value in request.items() if name != "data_dir" or not is_gone}
    if not moved_to.exists():
        raise ConfigError(f"`moved_to={moved_to}` does not exist; give the folder or file of the run's data set")
    place = "data_dir" if is_named(request["name_or_path"]) else "name_or_path"
    if place == "data_dir" and not has_copies(request["name_or_path"]):
        raise ConfigError(f"the run was distilled from {request['name_or_path']}, which is not read from files")
    return {**request, place: moved_to.resolve()}  # a path, even where its name is that of a named set


def asked_for(described: Mapping[str, Any]) -> str:
    """Return the options by which the set of a run was loaded, as text."""
    request = described.get("request") or {}
    return ", ".join(f"{name} {value}" for name, value in request.items()) or "made in memory"


def require_present(request: Mapping[str, Any]) -> None:
    """Make sure that a set that was loaded from a path is where it was.

    Raises:
        DataError: it is not.
    """
    place = Path(str(request["name_or_path"]))
    if place.is_absolute() and not place.exists():
        raise DataError(
            f"{place}, from which the run was distilled, is not there; if it has moved, give its place as `moved_to`"
        )


def require_original(dataset: ImageDataset, described: Mapping[str, Any]) -> ImageDataset:
    """Return a set under the name that it had for a result, given that it holds the same images, in any order.

    Raises:
        DataError: it does not; the message names what differs.
    """
    if not has_same_images(dataset, described):
        difference = difference_from(dataset, described)
        raise DataError(
            f"{dataset.source} is not the data set that the run was distilled from: it has {difference}; "
            "give the place of the right one as `moved_to`, or test on this one with `atom evaluate --dataset`"
        )
    name = str(described.get("name", dataset.name))
    return dataset if name == dataset.name else replace(dataset, name=name)


def has_same_images(dataset: ImageDataset, described: Mapping[str, Any]) -> bool:
    """Return whether a set holds the labeled images of a result's, in any order."""
    if dataset.fingerprint == described.get("fingerprint"):
        return True
    return bool(dataset.contents) and dataset.contents == described.get("contents")


def difference_from(dataset: ImageDataset, described: Mapping[str, Any]) -> str:
    """Return how a set differs from that of a result, such as "40 training images, not 50"; empty if it does not.

    The order of the images counts: random draws depend on it.
    """
    if dataset.fingerprint == described.get("fingerprint"):
        return ""
    now = dataset.identity()
    parts = [
        f"{now[name]} {what}, not {described[name]}"
        for name, what in _SIZES.items()
        if name in described and now[name] != described[name]
    ]
    return ", and ".join(parts) or "the same number of images and classes, but different ones or in a different order"

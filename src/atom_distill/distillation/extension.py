"""A run that extends a finished set: the settings it takes from the set, and the rows that stay as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.tensors import checksum
from atom_distill.config.distill import EXECUTION, bits_of_values
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.original import asked_for, difference_from
from atom_distill.data.subset import whole_fingerprint
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.ops.parameterization import Parameterization, Quantized, Stored

_FORM = ("preprocess", "parameterization", "bits", "soft_labels")
"""Settings that decide what a stored value means: old and new images must share them."""
_SIZES = frozenset({"ipc", "budget", "bytes", "pictures"})


@dataclass(frozen=True, eq=False)
class Extension:
    """A finished set whose rows are among those of a run, and stay as they are.

    Attributes:
        base: the set.
        rows: places of its rows among those of the run, int64 [r].
        rows_per_class: stored rows of the run, int64 [K].
    """

    base: DistilledDataset
    rows: Tensor
    rows_per_class: Tensor

    @classmethod
    def of(cls, base: DistilledDataset, class_names: tuple[str, ...], rows_per_class: Tensor) -> Extension:
        """Return the extension of a set by a run in which its rows are the first of each class.

        Args:
            base: the set.
            class_names: of the run; all of the set's are among them.
            rows_per_class: stored rows of the run, int64 [K].

        Raises:
            ConfigError: the run has fewer rows of a class than the set, or none to add.
        """
        had = torch.bincount(base.row_labels, minlength=len(base.class_names))
        labels = torch.tensor([class_names.index(name) for name in base.class_names])
        missing = int(rows_per_class.sum() - had.sum())
        lacking = [
            name
            for name, label, count in zip(base.class_names, labels, had, strict=True)
            if count > rows_per_class[label]
        ]
        if lacking or not missing:
            raise ConfigError(
                f"{base.folder} stores {_range(had)} for each class already, and this run {_range(rows_per_class)}: to "
                f"add images, give a larger `{'pictures' if base.settings.get('bytes') else 'ipc'}`"
            )
        within = torch.arange(len(base.row_labels)) - (had.cumsum(0) - had)[base.row_labels]
        starts = rows_per_class.cumsum(0) - rows_per_class
        return cls(base, starts[labels][base.row_labels] + within, rows_per_class)

    @cached_property
    def frozen(self) -> Tensor:
        """Which rows of the run stay as they are, bool [R]."""
        frozen = torch.zeros(int(self.rows_per_class.sum()), dtype=torch.bool)
        frozen[self.rows] = True
        return frozen

    def growing(self, classes: Tensor) -> Tensor | None:
        """Return which classes get rows: their places among some classes, int64 ascending; None if all of them do.

        Args:
            classes: labels, int64 [k].
        """
        added = torch.bincount(class_labels(self.rows_per_class)[~self.frozen], minlength=len(self.rows_per_class))
        places = added[classes].nonzero().flatten()
        return None if len(places) == len(classes) else places

    @property
    def steps(self) -> Mapping[str, Tensor] | None:
        """Rounding steps of the set; None where it is not rounded."""
        form = self.base.parameterization
        return form.steps if isinstance(form, Quantized) else None

    @property
    def record(self) -> dict[str, Any]:
        """What the record of the run says of the set."""
        base = self.base
        return {
            "folder": str(base.folder),
            "images": len(base),
            "classes": len(base.class_names),
            "steps": base.steps,
            "crc32": checksum(base.stored),
        }

    def beginning(self, form: Parameterization, stored: Stored) -> dict[str, Tensor]:
        """Return initial values, float32 [R, ...], with the rows of the set in their places."""
        return self._placed(form.from_values(self.base.stored), stored)

    def kept(self, values: Stored) -> dict[str, Tensor]:
        """Return values in the units of a file, float32 [R, ...], with the rows of the set bit for bit."""
        return self._placed(self.base.stored, values)

    def kept_labels(self, soft_labels: Tensor) -> Tensor:
        """Return the soft labels of all images, float32 [M, K], with those of the set bit for bit."""
        assert self.base.soft_labels is not None  # by `taken_settings`, both have them or none
        of_rows: Tensor = soft_labels.unflatten(0, (len(self.frozen), -1))
        of_base = self.base.soft_labels.unflatten(0, (len(self.rows), -1))
        return of_rows.index_copy(0, self.rows, of_base).flatten(0, 1)

    def _placed(self, rows: Stored, among: Stored) -> dict[str, Tensor]:
        return {name: values.index_copy(0, self.rows, rows[name].to(values)) for name, values in among.items()}


def taken_settings(base: DistilledDataset, dataset: ImageDataset, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run takes from the set to which it adds images (`extend`) or classes, by name.

    All of the set's, but for its size and how its run was computed; for a run of another method or preset, only those
    that decide what a stored value means, and the seed. A class that is added has the size of the others.

    Raises:
        ArtifactError: the set was imported, or is one of other data.
        ConfigError: a setting that both must share is another, or the size is not one to extend to.
    """
    adds_images = bool(given.get("extend"))
    if "imported" in base.record:
        raise ArtifactError(f"{base.folder} was imported, and not made by a run whose settings could be taken")
    _require_same_data(base, dataset) if adds_images else _require_some_classes(base, dataset)
    had = {name: value for name, value in base.settings.items() if value is not None}
    shared = {**had, "bits": None if had.get("bytes") else bits_of_values(had)}
    fixed = _FORM if adds_images else (*_FORM, *sorted(_SIZES))
    wrong = [f"`{name}={given[name]}`, not {shared.get(name)}" for name in fixed if _differs(given, shared, name)]
    if wrong:
        raise ConfigError(f"{', '.join(wrong)}: what is added has the form of {base.folder}, so leave that out")
    names = set(had) - EXECUTION - _SIZES - {"extend", "add_classes"}
    if any(_differs(given, had, name) for name in ("method", "preset")):
        names &= {*_FORM, "seed"}
    size = _grown_size(base, had, given) if adds_images else {name: had[name] for name in _SIZES & had.keys()}
    return {**{name: had[name] for name in names}, **size}


def _require_same_data(base: DistilledDataset, dataset: ImageDataset) -> None:
    difference = difference_from(dataset, base.dataset)
    if difference:
        raise ArtifactError(
            f"{base.folder} was distilled from another data set, {base.dataset.get('name')}: {dataset.name} has "
            f"{difference}; load the set with the options of that run ({asked_for(base.dataset)})"
        )


def _require_some_classes(base: DistilledDataset, dataset: ImageDataset) -> None:
    """Make sure that a set is one of some classes of the data, and of a form to which classes can be added."""
    others = sorted(set(base.class_names) - set(dataset.class_names))
    if others:
        raise ArtifactError(
            f"{base.folder} has classes that {dataset.name}, as loaded here, does not have: "
            f"{', '.join(map(repr, others[:5]))}; `classes` must name all classes of the result, old and new"
        )
    if whole_fingerprint(str(base.dataset.get("fingerprint"))) != whole_fingerprint(dataset.fingerprint):
        raise ArtifactError(
            f"{base.folder} was not distilled from a part of {dataset.name} as it is loaded here: the run must have "
            "chosen its `classes` from all the images that are there now, loaded with the same options otherwise "
            f"({asked_for(base.dataset)})"
        )
    if len(base.class_names) == dataset.num_classes:
        raise ConfigError(f"{base.folder} already has all {dataset.num_classes} classes: `add_classes` has none left")
    if base.soft_labels is not None:
        raise ConfigError(f"the soft labels of {base.folder} are probabilities of its own classes: none can be added")
    if base.settings.get("budget"):
        raise ConfigError(
            f"{base.folder} has a `budget` for all classes: `add_classes` needs equally many images in each"
        )


def _grown_size(base: DistilledDataset, had: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size that the run has about: the rounding stays as it is, which decides the bytes of new pictures."""
    if "bytes" not in had:
        return {}
    if "pictures" not in given or given.keys() & {"ipc", "budget", "bytes"}:
        raise ConfigError(
            f"{base.folder} is a set of {had['bytes']} bytes a class, whose rounding stays as it is: to add to its "
            f"{had['pictures']} pictures of a class, give `pictures`, and no other size"
        )
    return {"bytes": math.ceil(had["bytes"] * int(given["pictures"]) / had["pictures"])}


def preprocessed_by(base: DistilledDataset, dataset: ImageDataset, training: ImageDataset) -> ImageDataset:
    """Return training images under a fingerprint of their own if the transform of a set is not that of their data.

    Networks that are trained on them are cached by the fingerprint, and belong to one transform.

    Args:
        base: the set.
        dataset: to which a usual run fits its transform.
        training: the images of it that are distilled.
    """
    transform = checksum(base.preprocessing.tensors())
    if checksum(fit_preprocessing(base.preprocessing.kind, dataset).tensors()) == transform:
        return training
    return replace(training, fingerprint=f"{training.fingerprint}-transform-{transform:08x}")


def _differs(given: Mapping[str, Any], had: Mapping[str, Any], name: str) -> bool:
    return given.get(name) not in (None, had.get(name))


def _range(counts: Tensor) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"

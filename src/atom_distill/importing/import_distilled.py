"""`import_distilled`: read a published set, check it, and sort it by class."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.artifact.card.content import IMPORTED
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError
from atom_distill.base.files import expand_home
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset
from atom_distill.distillation.methods import METHODS
from atom_distill.importing.class_folders import PICTURES
from atom_distill.importing.grids import likely_factor, padded
from atom_distill.importing.model_space import INTENSITIES, into_model_space, model_space, warn_of_mismatch
from atom_distill.importing.published_set import PublishedSet
from atom_distill.importing.read_set import check_parts, check_set, read_set
from atom_distill.importing.targets import Targets, by_class, check_agreement, numbers_of, targets_of
from atom_distill.ops.parameterization import TILE_FACTORS, Parameterization, build_parameterization
from atom_distill.ops.preprocessing import Preprocessing


def import_distilled(
    path: str | Path,
    dataset: ImageDataset,
    preprocess: str | None = None,
    *,
    factor: int = 1,
    labels: str | Path | None = None,
    experiment: int | None = None,
    method: str = IMPORTED,
) -> DistilledDataset:
    """Return a distilled set that others published, for viewing and evaluation.

    Args:
        path: a file of tensors (see `read_published_set`), a folder of them, class folders of pictures, or an export of
            this tool.
        dataset: the real data set that was distilled, from `load_dataset`.
        preprocess: the preprocessing of the images: "zca", "normalize", or "legacy-normalize" for the constants in the
            code of DC, DM, MTT and others. Pixels (uint8 tensors, pictures) are preprocessed in this way. "none" means
            that values are intensities in 0..1, as published by IDC, DREAM and NCFM, which are then normalized as by
            "normalize". Our own exports include the transform and need no `preprocess`, except for class folders of
            pictures.
        factor: each image is a grid of factor x factor smaller ones (1 to 4), which are enlarged bilinearly.
        labels: the file of labels, if it is not next to the images.
        experiment: index of the set in a result file that holds several; None for the last.
        method: name of the method that made the set, e.g. "dm".

    Returns:
        The set, in memory; `save` writes it as a folder. It records the files, their SHA-256 and their layout.

    Raises:
        DataError: the files cannot be read safely, or do not fit the images and classes of the data set.
        ConfigError: the options do not fit the files or the data set, or `preprocess` is missing.
        UnknownNameError: there is no such preprocessing.
    """
    source = expand_home(path)
    published = read_set(source, dataset, expand_home(labels) if labels is not None else None, experiment)
    numbers = numbers_of(published.labels, dataset.class_names)
    check_set(published, numbers, dataset)
    preprocessing = model_space(published, dataset, preprocess)
    tiles = _parameterization(factor, dataset, preprocessing, published.images)
    note(f"recognized {published.form}")
    order, targets = _targets(published, numbers, dataset.num_classes)
    images = published.images.detach()[order]
    if images.dtype != torch.uint8 and preprocess != INTENSITIES and any(side % factor for side in images.shape[2:]):
        height, width = images.shape[2:]
        raise ConfigError(
            f"images of {height}x{width} values in model space have no {factor}x{factor} tiles of one size: only "
            f'pixels and intensities (`preprocess="none"`) are filled up to multiples of {factor}'
        )
    if factor == 1 and published.preprocessing is None:  # the transform of our own exports is the right one
        _check_look(images, preprocess, preprocessing, dataset)
    images = into_model_space(padded(images, factor), preprocess, preprocessing)
    rate = {} if published.network_lr is None else {"network_lr": published.network_lr}
    counts = set(torch.bincount(targets.hard).tolist())  # of every class, none of which is empty
    size = {"ipc": counts.pop()} if len(counts) == 1 else {"budget": len(images)}
    form = {} if factor == 1 else {"parameterization": _tiles_name(factor)}
    known = method_record(method)
    return DistilledDataset(
        stored={"images": images.contiguous()},
        row_labels=targets.hard,
        soft_labels=None if targets.soft is None else targets.soft.repeat_interleave(tiles.images_per_row, dim=0),
        class_names=dataset.class_names,
        preprocessing=preprocessing,
        parameterization=tiles,
        settings={"method": method, **size, "preprocess": preprocessing.kind, **form, **rate},
        dataset=dataset.identity(),
        record={**run_record(), **({"method": known} if known else {}), "imported": _origin(published, source)},
    )


def _targets(published: PublishedSet, numbers: Tensor, num_classes: int) -> tuple[Tensor, Targets]:
    """Return the order of the images by class, and their targets in it.

    Raises:
        DataError: the labels are no classes, contradict the soft labels, or are those of several sets.
    """
    targets = targets_of(numbers, num_classes, published.soft_labels)
    if published.soft_labels is not None and published.preprocessing is None:  # our own exports are taken as they are
        check_agreement(targets.hard, published.soft_labels)
    check_parts(published, targets.hard, num_classes)
    return by_class(targets, num_classes)


def method_record(name: str) -> dict[str, Any]:
    """Return title and paper (arXiv number) of a method for the record of a set; empty if the method is not ours."""
    return {"title": METHODS.get(name).title, "paper": METHODS.get(name).paper} if name in METHODS else {}


def _tiles_name(factor: int) -> str:
    return f"tiles-{factor}" if factor > 1 else "pixels"


def _parameterization(
    factor: int, dataset: ImageDataset, preprocessing: Preprocessing, images: Tensor
) -> Parameterization:
    """Return what decodes the images.

    Raises:
        ConfigError: there is no such factor, or the tiles would have to be whitened, which is done after enlarging.
    """
    if factor not in (1, *TILE_FACTORS):
        raise ConfigError(f"`factor` must be 1, {', '.join(map(str, TILE_FACTORS[:-1]))} or {TILE_FACTORS[-1]}")
    if factor > 1 and images.dtype == torch.uint8 and preprocessing.kind == "zca":
        raise ConfigError('pixels cannot be whitened before their grids are divided: give `preprocess="none"`')
    return build_parameterization(_tiles_name(factor), dataset.image_shape)


def _check_look(images: Tensor, preprocess: str | None, preprocessing: Preprocessing, dataset: ImageDataset) -> None:
    """Print a warning if float images look as if an option were wrong."""
    if images.dtype == torch.uint8:
        return
    if preprocess != INTENSITIES:
        warn_of_mismatch(images.float(), preprocessing, dataset)
    elif (factor := likely_factor(images)) is not None:
        note(
            f"warning: the images look like grids of {factor}x{factor} smaller ones, as IDC, DREAM and NCFM store "
            f"them: is `factor={factor}` right? Look at grid.png"
        )


def _origin(published: PublishedSet, source: Path) -> dict[str, object]:
    """Return the files with their SHA-256; for a folder of pictures, one digest over all files in order.

    Files of one name, in several folders, are recorded with their folders.
    """
    if published.form == PICTURES:
        digests = {source.resolve().name: _sha256(published.files)}
    else:
        files = [file.absolute() for file in dict.fromkeys(published.files)]
        names, common = [file.name for file in files], os.path.commonpath([file.parent for file in files])
        digests = {
            file.name if names.count(file.name) == 1 else file.relative_to(common).as_posix(): _sha256([file])
            for file in files
        }
    return {"files": list(digests), "sha256": digests, "format": published.form}


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()

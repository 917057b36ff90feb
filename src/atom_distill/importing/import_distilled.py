"""`import_distilled`: read a published set, check it, and sort it by class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from atom_distill.artifact.card.content import IMPORTED
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import holds_run
from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.files import expand_home
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing, has_legacy_constants
from atom_distill.distillation.methods import METHODS
from atom_distill.importing.class_folders import holds_class_folders, read_class_folders
from atom_distill.importing.published_set import PublishedSet, read_published_set
from atom_distill.importing.space_check import space_mismatch
from atom_distill.importing.targets import by_class, targets_of
from atom_distill.ops.preprocessing import Preprocessing


def import_distilled(
    path: str | Path,
    dataset: ImageDataset,
    preprocess: str,
    *,
    labels: str | Path | None = None,
    experiment: int | None = None,
    method: str = IMPORTED,
) -> DistilledDataset:
    """Return a distilled set that others published, to look at it and to evaluate it.

    Args:
        path: a file of tensors (see `read_published_set`), a folder of them, or class folders of pictures.
        dataset: the real data set that was distilled, from `load_dataset`.
        preprocess: the transform into the model space of the tensors: "zca", "normalize", or "legacy-normalize" for the
            constants in the code of DC, DM, MTT and others. It is applied to pixels (uint8 tensors, pictures).
        labels: the file of the labels, if it is not beside that of the images.
        experiment: index of the pair in a result file that holds several; None for the last.
        method: name of the method that made the set, e.g. "dm".

    Returns:
        The set, in memory; `save` writes it as a folder. Its record has the files, their SHA-256 and their layout.

    Raises:
        DataError: the files cannot be read safely, or are not a set of images and classes of this data set.
        ConfigError: the options do not fit the files or the data set.
        UnknownNameError: there is no such preprocessing.
    """
    source = expand_home(path)
    published = _read(source, dataset, expand_home(labels) if labels is not None else None, experiment)
    _check_images(published, dataset)
    classes = dataset.num_classes
    order, targets = by_class(targets_of(published.labels, classes, published.soft_labels), classes)
    preprocessing = fit_preprocessing(preprocess, dataset)
    note(f"recognized {published.form}")
    images = published.images.detach()[order]
    if images.dtype == torch.uint8:
        images = preprocessing.apply(images)
    else:
        images = images.float()
        reason = space_mismatch(images, preprocessing, _others(preprocessing, dataset))
        if reason is not None:
            note(f"warning: {reason}")
    rate = {} if published.network_lr is None else {"network_lr": published.network_lr}
    counts = set(torch.bincount(targets.hard).tolist())  # of every class, none of which is empty
    size = {"ipc": counts.pop()} if len(counts) == 1 else {"budget": len(images)}
    known = method_record(method)
    return DistilledDataset.from_images(
        images=images.contiguous(),
        labels=targets.hard,
        soft_labels=targets.soft,
        class_names=dataset.class_names,
        preprocessing=preprocessing,
        settings={"method": method, **size, "preprocess": preprocess, **rate},
        dataset=dataset.identity(),
        record={**run_record(), **({"method": known} if known else {}), "imported": _origin(published, source)},
    )


def method_record(name: str) -> dict[str, Any]:
    """Return title and paper (arXiv number) of a method for the record of a set; empty if the method is not ours."""
    return {"title": METHODS.get(name).title, "paper": METHODS.get(name).paper} if name in METHODS else {}


def _read(source: Path, dataset: ImageDataset, labels: Path | None, experiment: int | None) -> PublishedSet:
    for place in (source, labels):
        if place is not None and not place.exists():
            raise DataError(f"{place} does not exist; give the file or folder of a published set")
    if holds_run(source):
        raise ConfigError(f"{source} is a run folder of this tool already; `atom evaluate` takes it as it is")
    if not holds_class_folders(source):
        return read_published_set(source, labels, experiment)
    if labels is not None or experiment is not None:
        raise ConfigError(f"{source} has class folders, which give the labels; leave out `labels` and `experiment`")
    return read_class_folders(source, dataset)


def _check_images(published: PublishedSet, dataset: ImageDataset) -> None:
    images, labels = published.images, published.labels
    tensors = [tensor for tensor in (images, labels, published.soft_labels) if tensor is not None]
    if any(tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" for tensor in tensors):
        raise DataError("images and labels must be dense tensors with values, not sparse, quantized or meta tensors")
    count = len(labels) if labels.ndim else 0
    if images.shape[1:] != dataset.image_shape or len(images) != count or count == 0:
        wanted = "x".join(map(str, dataset.image_shape))
        raise DataError(
            f"images are {tuple(images.shape)} and labels {tuple(labels.shape)}; those of {dataset.name} are "
            f"{wanted}, [N, C, H, W] with N labels. Is `dataset` (with `image_size`) the one that was distilled?"
        )
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise DataError(f"images must be floats in model space or uint8 pixels, got {images.dtype}")
    broken = int((~torch.isfinite(images.float())).flatten(1).any(1).sum())  # float64 can overflow in float32
    if broken:
        raise DataError(f"{broken} of the {len(images)} images hold NaN or infinite values; the set is damaged")


def _others(chosen: Preprocessing, dataset: ImageDataset) -> dict[str, Preprocessing]:
    """Return other transforms that are quick to fit and may be the right ones instead."""
    kinds = ["normalize", *(["legacy-normalize"] if has_legacy_constants(dataset) else [])]
    return {kind: fit_preprocessing(kind, dataset) for kind in kinds if kind != chosen.kind}


def _origin(published: PublishedSet, source: Path) -> dict[str, object]:
    """Return the files with their SHA-256; for a folder of pictures, one digest over all files in order."""
    if source.is_dir() and published.images.dtype == torch.uint8:
        digests = {source.resolve().name: _sha256(published.files)}
    else:
        digests = {file.name: _sha256([file]) for file in published.files}
    return {"files": list(digests), "sha256": digests, "format": published.form}


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()

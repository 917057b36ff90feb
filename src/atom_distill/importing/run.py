"""A whole import: files, checks, order, artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from atom_distill.artifact.card import IMPORTED
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import holds_run
from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing, has_legacy_constants
from atom_distill.importing.doubts import doubt
from atom_distill.importing.pictures import holds_class_folders, read_pictures
from atom_distill.importing.published import Published, read_tensors
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
    """Read a distilled set that others published, so that it can be looked at and scored here.

    Args:
        path: a file of tensors (`read_tensors` says which), a folder of them, or class folders of pictures.
        dataset: the real set that was distilled; from `load_dataset`.
        preprocess: the transform in whose model space the tensors live: "zca", "normalize", or "legacy-normalize" for
            the constants in the code of DC, DM, MTT and others. Pixels (uint8, pictures) are brought into it.
        labels: the file of the labels, where it does not lie beside that of the images.
        experiment: which pair of a result file that holds several, from 0; None for the last.
        method: what the set is to be called by, e.g. "dm".

    Returns:
        The set, in memory; `save` writes it as a folder. Its record names the files, their SHA-256 and their layout.

    Raises:
        DataError: the files cannot be read safely, or are not a set of such images and classes.
        ConfigError: the options do not fit the files or the data set.
        UnknownNameError: there is no such preprocessing.
    """
    source = Path(path).expanduser()
    published = _read(source, dataset, Path(labels).expanduser() if labels is not None else None, experiment)
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
        reason = doubt(images, preprocessing, _others(preprocessing, dataset))
        if reason is not None:
            note(f"doubtful: {reason}")
    rate = {} if published.network_lr is None else {"network_lr": published.network_lr}
    return DistilledDataset.from_images(
        images=images.contiguous(),
        labels=targets.hard,
        soft_labels=targets.soft,
        class_names=dataset.class_names,
        preprocessing=preprocessing,
        settings={"method": method, **_size(targets.hard, classes), "preprocess": preprocess, **rate},
        dataset=dataset.identity(),
        record={**run_record(), "imported": _origin(published, source)},
    )


def _read(source: Path, dataset: ImageDataset, labels: Path | None, experiment: int | None) -> Published:
    for place in (source, labels):
        if place is not None and not place.exists():
            raise DataError(f"there is no {place}; give a published set's file or folder")
    if holds_run(source):
        raise ConfigError(f"{source} is a run folder of this tool already; atom evaluate takes it as it is")
    if not holds_class_folders(source):
        return read_tensors(source, labels, experiment)
    if labels is not None or experiment is not None:
        raise ConfigError(f"{source} is class folders, which say the labels; leave out --labels and --experiment")
    return read_pictures(source, dataset)


def _check_images(published: Published, dataset: ImageDataset) -> None:
    images, labels = published.images, published.labels
    soft = published.soft_labels
    if not (_is_plain(images) and _is_plain(labels) and (soft is None or _is_plain(soft))):
        raise DataError("images and labels must be plain dense tensors; these are sparse, quantized or without values")
    count = len(labels) if labels.ndim else 0
    if images.shape[1:] != dataset.image_shape or len(images) != count or count == 0:
        wanted = "x".join(map(str, dataset.image_shape))
        raise DataError(
            f"images are {tuple(images.shape)} and labels {tuple(labels.shape)}; those of {dataset.name} are "
            f"{wanted}, [N, C, H, W] with N labels. Is --as (with --image-size) the set that was distilled?"
        )
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise DataError(f"images must be floats in model space or uint8 pixels, got {images.dtype}")
    broken = _count_broken(images)
    if broken:
        raise DataError(f"{broken} of the {len(images)} images hold NaN or infinite values; the set is damaged")


def _size(labels: Tensor, classes: int) -> dict[str, int]:
    """Say how many images there are of each class, or in all where the classes differ."""
    counts = set(torch.bincount(labels, minlength=classes).tolist())
    return {"ipc": counts.pop()} if len(counts) == 1 else {"budget": len(labels)}


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type == "cpu"


def _count_broken(images: Tensor) -> int:
    """Count those that hold NaN or infinity as the float32 in which they are kept: float64 has larger numbers."""
    return int((~torch.isfinite(images.float())).flatten(1).any(1).sum())


def _others(chosen: Preprocessing, dataset: ImageDataset) -> dict[str, Preprocessing]:
    """Give the transforms that are quickly had and that the images may live in instead."""
    kinds = ["normalize", *(["legacy-normalize"] if has_legacy_constants(dataset) else [])]
    return {kind: fit_preprocessing(kind, dataset) for kind in kinds if kind != chosen.kind}


def _origin(published: Published, source: Path) -> dict[str, object]:
    """Name the files with their SHA-256; for a folder of pictures, that of all of theirs in order."""
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

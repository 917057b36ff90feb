"""Reading and checking a published set of any layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from atom_distill.artifact.folder import holds_run
from atom_distill.base.errors import ConfigError, DataError
from atom_distill.data.dataset import ImageDataset
from atom_distill.importing.arrange import channels_first
from atom_distill.importing.class_folders import holds_class_folders, read_class_folders
from atom_distill.importing.own_folders import holds_tables, read_tables
from atom_distill.importing.published_set import PublishedSet
from atom_distill.importing.read_files import read_published_set
from atom_distill.importing.values import is_dense


def read_set(source: Path, dataset: ImageDataset, labels: Path | None, experiment: int | None) -> PublishedSet:
    """Return the set at a path, with images [N, C, H, W] wherever their order of dimensions can be told.

    Args:
        source: a file or folder of any known layout.
        dataset: the real data set.
        labels: the file of the labels, if it is not beside that of the images.
        experiment: see `read_published_set`.

    Raises:
        DataError: it cannot be read safely, or is of other classes.
        ConfigError: an option does not fit the layout.
    """
    for place in (source, labels):
        if place is not None and not place.exists():
            raise DataError(f"{place} does not exist; give the file or folder of a published set")
    if holds_run(source):
        raise ConfigError(f"{source} is a run folder of this tool already; `atom evaluate` takes it as it is")
    kind = "tables" if holds_tables(source) else "class folders" if holds_class_folders(source) else ""
    if kind and (labels is not None or experiment is not None):
        raise ConfigError(f"{source} has {kind}, which give the labels; leave out `labels` and `experiment`")
    if kind == "tables":
        published = read_tables(source, dataset.image_shape)
    elif kind:
        published = read_class_folders(source, dataset)
    else:
        published = read_published_set(source, labels, experiment)
    if published.class_names not in (None, dataset.class_names):
        named = ", ".join(map(repr, (published.class_names or ())[:3]))
        raise DataError(
            f"{published.files[0]} has {len(published.class_names or ())} classes ({named}, ...), and not those of "
            f"{dataset.name} in their order; is `dataset` the one that was distilled?"
        )
    return replace(published, images=channels_first(published.images, dataset.image_shape))


def check_set(published: PublishedSet, labels: Tensor, dataset: ImageDataset) -> None:
    """Refuse what is no set of images of the data set.

    Args:
        published: its images and soft labels are checked.
        labels: its labels as numbers.
        dataset: the real data set, for the shape of the images.

    Raises:
        DataError: shapes or types do not fit, or values are not finite.
    """
    images = published.images
    tensors = [tensor for tensor in (images, labels, published.soft_labels) if tensor is not None]
    if not all(is_dense(tensor) for tensor in tensors):
        raise DataError("images and labels must be dense tensors with values, not sparse, quantized or meta tensors")
    count = len(labels) if labels.ndim else 0
    if images.shape[1:] != dataset.image_shape or len(images) != count or count == 0:
        wanted = "x".join(map(str, dataset.image_shape))
        raise DataError(
            f"images are {tuple(images.shape)} and labels {tuple(labels.shape)}; those of {dataset.name} are "
            f"{wanted}, [N, C, H, W] with N labels. Is `dataset` (with `image_size`) the one that was distilled?"
        )
    soft = published.soft_labels
    if soft is not None and soft.ndim != 2:
        raise DataError(f"soft labels must be [N, {dataset.num_classes}], got {tuple(soft.shape)}; leave them out")
    if not images.is_floating_point() and images.dtype != torch.uint8:
        raise DataError(f"images must be floats in model space or uint8 pixels, got {images.dtype}")
    broken = int((~torch.isfinite(images.float())).flatten(1).any(1).sum())  # float64 can overflow in float32
    if broken:
        raise DataError(f"{broken} of the {len(images)} images hold NaN or infinite values; the set is damaged")


def check_parts(published: PublishedSet, labels: Tensor, num_classes: int) -> None:
    """Refuse files that were joined although each looks like a set of its own.

    Args:
        published: its `part_sizes` are those of the files.
        labels: class numbers of all images, int64 [N].
        num_classes: K.

    Raises:
        DataError: each file has every class, with the same number of images.
    """
    parts = labels.split(published.part_sizes or len(labels))
    counts = [torch.bincount(part, minlength=num_classes) for part in parts]
    if len(counts) > 1 and all(int(count.min()) == int(count.max()) for count in counts):
        raise DataError(
            f"{published.files[0].parent}: each of its {published.form} has every class with the same number of "
            "images, as a set of its own has; give one file, or, if they are parts of one set, save them as one "
            "(torch.cat)"
        )

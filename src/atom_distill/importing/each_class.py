"""Published sets of one tensor for each class: stacked, in a list, by name, or in numbered files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.base.progress import note
from atom_distill.importing.published_set import PublishedSet
from atom_distill.importing.tensor_file import read_tensor_file
from atom_distill.importing.values import IMAGE_NAMES, as_labels, is_dense, labels_in


def by_class(content: Any) -> tuple[list[Tensor], list[Any]] | None:
    """Return tensors [ipc, C, H, W], one for each class, and the name or number of each class; None for all else.

    Those of a list, or of one tensor [K, ipc, C, H, W], are in the order of the classes.
    """
    if isinstance(content, Tensor):
        content = list(content) if content.ndim == 5 else []
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or len(content) < 2 or any(name in content for name in IMAGE_NAMES):
        return None
    keys, tensors = list(content), list(content.values())
    fit = all(
        isinstance(part, Tensor) and part.ndim == 4 and part.shape[1:] == tensors[0].shape[1:] for part in tensors
    )
    return (tensors, keys) if fit and as_labels(keys) is not None else None


def of_classes(path: Path, content: Any, labels: Path | None) -> PublishedSet:
    """Return the set of what `by_class` recognizes.

    Args:
        path: its file.
        content: what the file holds.
        labels: a file of labels beside it, if there is one.

    Raises:
        DataError: the labels contradict the order of the classes.
    """
    tensors, keys = by_class(content) or ([], [])
    form = "one tensor for each class"
    if isinstance(content, Tensor):
        form += f": {list(content.shape)} as [K, ipc, C, H, W], classes first"
        if content.shape[0] == content.shape[1] and labels is None:
            note(
                "warning: there are as many images of each class as classes: if the images come as [ipc, K, C, H, W], "
                "save their transpose(0, 1)"
            )
    published = _repeated(tensors, keys, form, (path,))
    return published if labels is None else _with_labels(published, labels)


def _with_labels(published: PublishedSet, path: Path) -> PublishedSet:
    """Return the set with the labels of a file in place of those of its order, which they must not contradict."""
    labels, implied = labels_in(path), published.labels
    if isinstance(labels, Tensor) and isinstance(implied, Tensor) and _as_many(labels, implied):
        labels = labels.reshape(-1)
        if not torch.equal(labels.double(), implied.double()):
            raise DataError(
                f"{published.files[0]} is taken for {published.form}, and the labels of {path.name} contradict that "
                "order; save the images as [N, C, H, W], in the order of their labels"
            )
    return PublishedSet(published.images, labels, published.form, (*published.files, path))


def _as_many(labels: Tensor, implied: Tensor) -> bool:
    return is_dense(labels) and labels.numel() == implied.numel()


def in_class_files(files: Sequence[Path]) -> PublishedSet | None:
    """Return the set in files named class_0.pt, class_1.pt, ..., one tensor each; None if the files are others."""
    if not all(re.fullmatch(r"class[ _-]?[0-9]+", path.stem, re.IGNORECASE) for path in files):
        return None
    found = by_class([read_tensor_file(path) for path in files])
    form = f"one file for each class, {files[0].name} to {files[-1].name}"
    return None if found is None else _repeated(*found, form, tuple(files))


def _repeated(tensors: Sequence[Tensor], keys: Sequence[Any], form: str, files: tuple[Path, ...]) -> PublishedSet:
    labels = [key for key, part in zip(keys, tensors, strict=True) for _ in range(len(part))]
    named = isinstance(keys[0], str)
    return PublishedSet(torch.cat(list(tensors)), labels if named else torch.tensor(labels), form, files)

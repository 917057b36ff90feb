"""What a file may hold beside images and labels: soft labels, a learning rate, class names, the transform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.importing.published_set import PublishedSet
from atom_distill.ops.preprocessing import ChannelNormalization, Preprocessing, ZCAWhitening

_PREFIX = "preprocessing_"
_SOFT = ("soft_labels", "soft_label", "soft_targets")


def with_extras(published: PublishedSet, path: Path, content: Mapping[Any, Any]) -> PublishedSet:
    """Add what our own "pt" and "npz" exports hold beside images and labels.

    Raises:
        DataError: the learning rate, the transform, or the soft labels are none.
    """
    soft, names = next((content[name] for name in _SOFT if name in content), None), content.get("class_names")
    if soft is not None:
        published = with_soft_labels(published, path, soft)
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        published = replace(published, class_names=tuple(names))
    transform = content.get("preprocessing")  # of "pt"; "npz" has no nested names
    if not isinstance(transform, Mapping):
        transform = {str(name).removeprefix(_PREFIX): content[name] for name in content if _is_of_transform(name)}
    if transform:
        published = replace(published, preprocessing=transform_in(path, transform))
    return with_rate(published, path, content["lr"]) if "lr" in content else published


def with_soft_labels(published: PublishedSet, path: Path, soft: Any) -> PublishedSet:
    """Add soft labels that networks learn instead of the class numbers.

    Args:
        published: the set with class numbers.
        path: the file of the soft labels.
        soft: what it holds for them, [N, K].

    Raises:
        DataError: it is not a tensor, nor lists of numbers.
    """
    files = published.files if path in published.files else (*published.files, path)
    return replace(published, soft_labels=_as_rows(path, soft), files=files)


def _as_rows(path: Path, soft: Any) -> Tensor:
    """Return soft labels of an image each, in a tensor or in lists, as a tensor."""
    try:
        return soft if isinstance(soft, Tensor) else torch.stack([torch.as_tensor(row) for row in soft])
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{path} should hold soft labels as one tensor [N, K]; save them so, or leave them out"
        ) from None


def _is_of_transform(name: Any) -> bool:
    return isinstance(name, str) and name.startswith(_PREFIX)


def with_rate(published: PublishedSet, path: Path, rate: Any) -> PublishedSet:
    """Add a learning rate that was distilled with the images.

    Raises:
        DataError: it is not a positive number.
    """
    value = float(rate) if isinstance(rate, float | int) or (isinstance(rate, Tensor) and rate.numel() == 1) else 0.0
    if not 0 < value < float("inf"):
        advice = f"remove 'lr' from {path.name}" if path in published.files else "move it away"
        raise DataError(f"{path} should hold a learning rate, a positive number; {advice} to ignore it")
    files = published.files if path in published.files else (*published.files, path)
    return replace(published, network_lr=value, files=files)


def transform_in(path: Path, parts: Mapping[Any, Any]) -> Preprocessing:
    """Return the transform of one of our own exports.

    Args:
        path: its file.
        parts: `kind`, and `mean` and `std` [C], or `mean` [D] and `transform` [D, D].

    Raises:
        DataError: it is no transform of ours.
    """
    kind, mean = parts.get("kind"), parts.get("mean")
    second = parts.get("transform" if kind == "zca" else "std")
    if (
        kind not in ("zca", "normalize", "legacy-normalize")
        or not isinstance(mean, Tensor)
        or not isinstance(second, Tensor)
        or mean.ndim != 1
        or second.shape != (mean.shape * 2 if kind == "zca" else mean.shape)
        or not (mean.dtype == second.dtype == torch.float32)
        or not bool(mean.isfinite().all() and second.isfinite().all())
    ):
        raise DataError(f"{path} holds a damaged transform into model space; export the set again")
    return ZCAWhitening(mean, second) if kind == "zca" else ChannelNormalization(mean, second, str(kind))

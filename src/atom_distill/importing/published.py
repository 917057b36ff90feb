"""What was published: images and labels as they lie in the files, whatever the layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.importing.loading import TENSOR_SUFFIXES, load_tensors

_PARTS = ("images", "labels", "lr")
_SHOWN = 5


@dataclass(frozen=True)
class Published:
    """A set as its files have it, unchecked.

    Attributes:
        images: should be [N, C, H, W]: floats in the publisher's model space, or uint8 pixels.
        labels: should be [N], or [N, K] where they are soft.
        form: the layout that was recognized, for people.
        files: what was read.
        network_lr: learning rate of the networks that was distilled with the images.
        soft_labels: [N, K], where the file has them beside class numbers.
    """

    images: Tensor
    labels: Tensor
    form: str
    files: tuple[Path, ...]
    network_lr: float | None = None
    soft_labels: Tensor | None = None


def read_tensors(path: Path, labels: Path | None = None, experiment: int | None = None) -> Published:
    """Read a published set of tensors; what it is follows from what it holds.

    Understood are `{"data": [[images, labels], ...]}` (the result files of DC, DSA, DM and DataDAM, and `atom export
    --to pt`, which has soft labels and a learning rate beside the list where there are any), an images and a
    labels file side by side (DataDAM, MTT, DATM; with a learning rate beside them), and one file of both, as a pair or
    by name.

    Args:
        path: a file, or the folder that holds the files of one set.
        labels: the file of the labels, where it does not lie beside that of the images.
        experiment: which of a result file's pairs, from 0; None for the last. DC, DSA and DM store one for each
            experiment, DataDAM one each time it saves, the last of which is the newest.

    Raises:
        DataError: a file cannot be read safely, or does not hold images and labels.
        ConfigError: there is no such experiment, or there are none to choose from.
    """
    path = _in_folder(path) if path.is_dir() else path
    content = load_tensors(path)
    if labels is not None and not _lacks_labels(content):
        raise ConfigError(f"{path} holds labels already; leave out --labels")
    pairs = content.get("data") if isinstance(content, dict) else None
    if _is_pair(pairs):  # one experiment, without the list around it
        pairs = [pairs]
    if isinstance(pairs, list):
        return _with_extras(_experiment(path, pairs, experiment), path, content)
    if experiment is not None:
        raise ConfigError(f"{path} does not hold several experiments; leave out --experiment")
    if isinstance(content, Tensor):
        return _side_by_side(path, content, labels)
    return _one_file(path, content, labels)


def _in_folder(folder: Path) -> Path:
    """Find the file to begin with: the best images if there are such, else the only ones."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in TENSOR_SUFFIXES]
    images = [path for path in files if "images" in path.name and _beside(path, "images", "labels")]
    best = [path for path in images if "best" in path.name]
    for choice in (best, images, files):
        if len(choice) == 1:
            return choice[0]
    names = ", ".join(path.name for path in (images or files)[:_SHOWN])
    raise DataError(
        f"{folder} holds {f'several sets ({names}, ...)' if names else 'no tensors'}; give one file of a set"
    )


def _lacks_labels(content: Any) -> bool:
    if isinstance(content, Tensor):
        return content.ndim == 4
    return isinstance(content, dict) and "images" in content and "labels" not in content


def _experiment(path: Path, pairs: Sequence[Any], experiment: int | None) -> Published:
    if not pairs:
        raise DataError(f"{path} holds no experiment: its 'data' list is empty")
    chosen = len(pairs) - 1 if experiment is None else experiment
    if not 0 <= chosen < len(pairs):
        raise ConfigError(f"{path} has experiments 0 to {len(pairs) - 1}, and not {chosen}; give one with --experiment")
    if not _is_pair(pairs[chosen]):
        raise DataError(f"{path}: experiment {chosen} is not a pair of images and labels")
    images, labels = pairs[chosen]
    form = f"DC/DSA/DM/DataDAM result, experiment {chosen} of 0 to {len(pairs) - 1}"
    return Published(images, labels, form, (path,))


def _with_extras(published: Published, path: Path, content: dict[Any, Any]) -> Published:
    """Add what our own exports have beside the list."""
    soft = content.get("soft_labels")
    if isinstance(soft, Tensor):
        published = replace(published, soft_labels=soft)
    return _with_rate(published, path, content["lr"]) if "lr" in content else published


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, Tensor) for part in value)


def _side_by_side(path: Path, content: Tensor, labels: Path | None) -> Published:
    """Images in one file, labels in another; either may be given."""
    given_images = content.ndim == 4
    images_path = path if given_images else _beside(path, "labels", "images")
    labels_path = (labels or _beside(path, "images", "labels")) if given_images else path
    if images_path is None or labels_path is None:
        missing = "labels" if given_images else "images"
        raise DataError(
            f"{path} is one tensor {tuple(content.shape)}, and its {missing} are not beside it; "
            "give the images' file, and the labels' with --labels FILE"
        )
    parts = [_tensor_in(place) for place in (images_path, labels_path)]
    rate = _beside(images_path, "images", "lr") or _existing(images_path.with_name("lr.pt"))
    form = "MTT/DATM images and labels" if images_path.name.startswith("images_") else "images and labels, a file each"
    published = Published(parts[0], parts[1], form, (images_path, labels_path))
    return published if rate is None else _with_rate(published, rate, _tensor_in(rate))


def _tensor_in(path: Path) -> Tensor:
    """Read a file that holds one tensor.

    Raises:
        DataError: it holds something else.
    """
    content = load_tensors(path)
    if isinstance(content, float | int):
        return torch.tensor([content])
    if not isinstance(content, Tensor):
        raise DataError(f"{path} should hold one tensor, got {type(content).__name__}")
    return content


def _one_file(path: Path, content: Any, labels: Path | None) -> Published:
    """Both in one file: a pair, or a dictionary with their names."""
    if isinstance(content, dict) and isinstance(content.get("images"), Tensor):
        targets = _tensor_in(labels) if labels else content.get("labels")
        if isinstance(targets, Tensor):
            files = (path, labels) if labels else (path,)
            published = Published(content["images"], targets, "one file with images and labels by name", files)
            return _with_rate(published, path, content["lr"]) if "lr" in content else published
    if _is_pair(content):
        return Published(content[0], content[1], "one file with a pair of images and labels", (path,))
    held = f"a dictionary of {', '.join(map(repr, list(content)[:_SHOWN]))}" if isinstance(content, dict) else ""
    raise DataError(
        f"{path} holds {held or type(content).__name__}, not a distilled set: wanted a 'data' list of "
        "[images, labels], 'images' and 'labels', a pair of them, or one tensor with the other in a file beside it"
    )


def _with_rate(published: Published, path: Path, rate: Any) -> Published:
    value = float(rate) if isinstance(rate, float | int) or (isinstance(rate, Tensor) and rate.numel() == 1) else 0.0
    if not 0 < value < float("inf"):
        raise DataError(f"{path} should hold a learning rate, a positive number; move it away to leave it out")
    files = published.files if path in published.files else (*published.files, path)
    return replace(published, network_lr=value, files=files)


def _beside(path: Path, part: str, other: str) -> Path | None:
    """Give the file whose name has `other` in place of `part`, if there is one."""
    return _existing(path.with_name(re.sub(part, other, path.name))) if part in path.name else None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None

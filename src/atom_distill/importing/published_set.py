"""Reading the images and labels of a published set from files of tensors, in any known layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.importing.tensor_file import TENSOR_SUFFIXES, read_tensor_file

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class PublishedSet:
    """A set as it is in its files, unchecked.

    Attributes:
        images: expected [N, C, H, W]: floats in the publisher's model space, or uint8 pixels.
        labels: expected [N], or [N, K] if they are soft.
        form: description of the layout.
        files: the files that were read.
        network_lr: learning rate of networks, if it was distilled with the images.
        soft_labels: [N, K], if the file has them in addition to class numbers.
    """

    images: Tensor
    labels: Tensor
    form: str
    files: tuple[Path, ...]
    network_lr: float | None = None
    soft_labels: Tensor | None = None


def read_published_set(path: Path, labels: Path | None = None, experiment: int | None = None) -> PublishedSet:
    """Return a published set of tensors; its layout is recognized by its content.

    Known layouts: `{"data": [[images, labels], ...]}` (the result files of DC, DSA, DM and DataDAM, and our own "pt"
    exports, which add soft labels and a learning rate to the dictionary if there are any); a file of images and a file
    of labels in the same folder (DataDAM, MTT, DATM; the last two with a file of a learning rate); and one file
    of both, as a pair or by name.

    Args:
        path: a file, or the folder that holds the files of one set.
        labels: the file of the labels, if it is not beside that of the images.
        experiment: index of the pair in a result file; None for the last. DC, DSA and DM store one pair per experiment,
            DataDAM one each time it saves, the newest last.

    Raises:
        DataError: a file cannot be read safely, or does not hold images and labels.
        ConfigError: there is no such experiment, or the file does not hold several.
    """
    path = _in_folder(path) if path.is_dir() else path
    content = read_tensor_file(path)
    if labels is not None and not _lacks_labels(content):
        raise ConfigError(f"{path} holds labels already; leave out `labels`")
    pairs = content.get("data") if isinstance(content, dict) else None
    if _is_pair(pairs):  # one experiment, not in a list
        pairs = [pairs]
    if isinstance(pairs, list):
        return _with_extras(_experiment(path, pairs, experiment), path, content)
    if experiment is not None:
        raise ConfigError(f"{path} does not hold several experiments; leave out `experiment`")
    if isinstance(content, Tensor):
        return _side_by_side(path, content, labels)
    return _one_file(path, content, labels)


def _in_folder(folder: Path) -> Path:
    """Return the file of a set's images: the best ones if there are such, else the only ones."""
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


def _experiment(path: Path, pairs: Sequence[Any], experiment: int | None) -> PublishedSet:
    if not pairs:
        raise DataError(f"{path} holds no experiment: its 'data' list is empty")
    chosen = len(pairs) - 1 if experiment is None else experiment
    if not 0 <= chosen < len(pairs):
        raise ConfigError(
            f"{path} has experiments 0 to {len(pairs) - 1}, and not {chosen}; give one of them as `experiment`"
        )
    if not _is_pair(pairs[chosen]):
        raise DataError(f"{path}: experiment {chosen} is not a pair of images and labels")
    images, labels = pairs[chosen]
    form = f"DC/DSA/DM/DataDAM result, experiment {chosen} of 0 to {len(pairs) - 1}"
    return PublishedSet(images, labels, form, (path,))


def _with_extras(published: PublishedSet, path: Path, content: dict[Any, Any]) -> PublishedSet:
    """Add the soft labels and the learning rate that our own exports have beside the list."""
    soft = content.get("soft_labels")
    if isinstance(soft, Tensor):
        published = replace(published, soft_labels=soft)
    return _with_rate(published, path, content["lr"]) if "lr" in content else published


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, Tensor) for part in value)


def _side_by_side(path: Path, content: Tensor, labels: Path | None) -> PublishedSet:
    """Return a set with images in one file and labels in another; `path` may be either."""
    given_images = content.ndim == 4
    images_path = path if given_images else _beside(path, "labels", "images")
    labels_path = (labels or _beside(path, "images", "labels")) if given_images else path
    if images_path is None or labels_path is None:
        missing = "labels" if given_images else "images"
        raise DataError(
            f"{path} is one tensor {tuple(content.shape)}, and its {missing} are not beside it; "
            "give the file of the images, and that of the labels as `labels`"
        )
    parts = [_tensor_in(place) for place in (images_path, labels_path)]
    rate = _beside(images_path, "images", "lr") or _beside(images_path, images_path.name, "lr.pt")
    form = "MTT/DATM images and labels" if images_path.name.startswith("images_") else "images and labels, a file each"
    published = PublishedSet(parts[0], parts[1], form, (images_path, labels_path))
    return published if rate is None else _with_rate(published, rate, _tensor_in(rate))


def _tensor_in(path: Path) -> Tensor:
    content = read_tensor_file(path)
    if isinstance(content, float | int):
        return torch.tensor([content])
    if not isinstance(content, Tensor):
        raise DataError(f"{path} should hold one tensor, got {type(content).__name__}")
    return content


def _one_file(path: Path, content: Any, labels: Path | None) -> PublishedSet:
    """Return a set with images and labels in one file: a pair, or a dictionary with their names."""
    if isinstance(content, dict) and isinstance(content.get("images"), Tensor):
        targets = _tensor_in(labels) if labels else content.get("labels")
        if isinstance(targets, Tensor):
            files = (path, labels) if labels else (path,)
            published = PublishedSet(content["images"], targets, "one file with images and labels by name", files)
            return _with_rate(published, path, content["lr"]) if "lr" in content else published
    if _is_pair(content):
        return PublishedSet(content[0], content[1], "one file with a pair of images and labels", (path,))
    held = f"a dictionary of {', '.join(map(repr, list(content)[:_SHOWN]))}" if isinstance(content, dict) else ""
    raise DataError(
        f"{path} holds {held or type(content).__name__}, not a distilled set: wanted a 'data' list of "
        "[images, labels], 'images' and 'labels', a pair of them, or one of them with the other in a file beside it"
    )


def _with_rate(published: PublishedSet, path: Path, rate: Any) -> PublishedSet:
    value = float(rate) if isinstance(rate, float | int) or (isinstance(rate, Tensor) and rate.numel() == 1) else 0.0
    if not 0 < value < float("inf"):
        raise DataError(f"{path} should hold a learning rate, a positive number; move it away to ignore it")
    files = published.files if path in published.files else (*published.files, path)
    return replace(published, network_lr=value, files=files)


def _beside(path: Path, part: str, other: str) -> Path | None:
    """Return the file whose name has `other` in place of `part`, if it exists."""
    found = path.with_name(path.name.replace(part, other))
    return found if part in path.name and found.is_file() else None

"""Reading the images and labels of a published set from files of tensors, in any known layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.importing.extras import with_extras, with_rate
from atom_distill.importing.find_files import beside, find_labels, find_set
from atom_distill.importing.published_set import Labels, PublishedSet
from atom_distill.importing.tensor_file import read_tensor_file

_IMAGES = ("images", "data", "image", "x", "arr_0")
_LABELS = ("labels", "targets", "label", "target", "y", "arr_1")
"""Names of images and labels in one file; numpy calls arrays without a name arr_0 and arr_1."""
_SHOWN = 5
_LARGEST = 2**53
"""Every whole number below it is one in torch's types of integers and in float64."""


def read_published_set(path: Path, labels: Path | None = None, experiment: int | None = None) -> PublishedSet:
    """Return a published set of tensors; its layout is recognized by its content.

    Known layouts: `{"data": [[images, labels], ...]}` (the result files of DC, DSA, DM and DataDAM, and our own "pt"
    exports, which add soft labels and a learning rate to the dictionary if there are any); a file of images and a file
    of labels in the same folder (DataDAM, MTT, DATM; the last two with a file of a learning rate); one file of both, as
    a pair (IDC, DREAM, NCFM) or by name; and one tensor for each class. Each may be divided among numbered files.

    Args:
        path: a file, or the folder that holds the files of one set.
        labels: the file of the labels, if it is not beside that of the images.
        experiment: index of the pair in a result file; None for the last. DC, DSA and DM store one pair per experiment,
            DataDAM one each time it saves, the newest last.

    Raises:
        DataError: a file cannot be read safely, or does not hold images and labels.
        ConfigError: there is no such experiment, or the file does not hold several.
    """
    if not path.is_dir():
        return _read_file(path, labels, experiment)
    files = find_set(path)
    if len(files) == 1:
        return _read_file(files[0], labels, experiment)
    if experiment is not None:
        raise ConfigError(f"{path} has one set in {len(files)} files; leave out `experiment`")
    return _joined(files, labels or find_labels(path, files))


def _read_file(path: Path, labels: Path | None, experiment: int | None) -> PublishedSet:
    content = read_tensor_file(path)
    if labels is not None and not _lacks_labels(content):
        raise ConfigError(f"{path} holds labels already; leave out `labels`")
    pairs = _experiments(content)
    if pairs is not None:
        return with_extras(_experiment(path, pairs, experiment), path, content)
    if experiment is not None:
        raise ConfigError(f"{path} does not hold several experiments; leave out `experiment`")
    of_classes = _by_class(content)
    if of_classes is not None:
        return PublishedSet(*of_classes, "one tensor for each class", (path,))
    if _is_one_array(path, content):
        return _side_by_side(path, content, labels)
    return _one_file(path, content, labels)


def _joined(files: Sequence[Path], labels: Path | None) -> PublishedSet:
    """Return the set that is divided among files; `labels` are those of all of them, None if each has its own."""
    form = f"{len(files)} files, {files[0].name} to {files[-1].name}"
    if labels is not None:
        images = _concatenated([_images_in(path) for path in files], files)
        return PublishedSet(images, _labels_in(labels), form, (*files, labels))
    parts = [_read_file(path, None, None) for path in files]
    every, soft = [part.labels for part in parts], [part.soft_labels for part in parts]
    tensors = [part for part in every if isinstance(part, Tensor)]
    return replace(
        parts[0],
        images=_concatenated([part.images for part in parts], files),
        labels=_concatenated(tensors, files) if tensors else [str(name) for part in every for name in part],
        soft_labels=_concatenated([part for part in soft if part is not None], files)
        if soft != [None] * len(soft)
        else None,
        form=form,
        files=tuple(file for part in parts for file in part.files),
    )


def _concatenated(parts: Sequence[Tensor], files: Sequence[Path]) -> Tensor:
    if len({(part.shape[1:], part.dtype) for part in parts}) != 1 or len(parts) != len(files):
        raise DataError(
            f"{files[0].parent}: {files[0].name} to {files[-1].name} differ in shape or type, so they are no parts of "
            "one set; give one of the files"
        )
    return torch.cat(list(parts))


def _lacks_labels(content: Any) -> bool:
    if isinstance(content, dict):
        named = _named(content, _IMAGES) is not None and _named(content, _LABELS) is None
        return named and _experiments(content) is None
    return _as_images(content) is not None and _by_class(content) is None


def _experiments(content: Any) -> Sequence[Any] | None:
    """Return the pairs of a result file: the list of name "data", if it is not that of the images."""
    pairs = content.get("data") if isinstance(content, dict) else None
    if _is_pair(pairs):  # one experiment, not in a list
        return [pairs]
    return pairs if isinstance(pairs, list) and _named(content, _LABELS) is None else None


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


def _is_pair(value: Any) -> bool:
    """Return True for images and labels, and not for two tensors of images, one for each of two classes."""
    if not isinstance(value, list | tuple) or len(value) != 2 or _by_class(value) is not None:
        return False
    return all(isinstance(part, Tensor) for part in value)


def _by_class(content: Any) -> tuple[Tensor, Tensor] | None:
    """Return images and labels of tensors [ipc, C, H, W], one for each class in the order of its number."""
    if isinstance(content, Tensor) and content.ndim == 5:
        content = list(content)
    if not isinstance(content, list | tuple) or len(content) < 2:
        return None
    if any(
        not isinstance(part, Tensor) or part.ndim != 4 or part.shape[1:] != content[0].shape[1:] for part in content
    ):
        return None
    labels = torch.arange(len(content)).repeat_interleave(torch.tensor([len(part) for part in content]))
    return torch.cat(list(content)), labels


def _side_by_side(path: Path, content: Any, labels: Path | None) -> PublishedSet:
    """Return a set with images in one file and labels in another; `path` may be either."""
    given_images = _as_images(content) is not None
    images_path = path if given_images else beside(path, "images")
    labels_path = (labels or beside(path, "labels")) if given_images else path
    if images_path is None or labels_path is None:
        missing = "labels" if given_images else "images"
        raise DataError(
            f"{path} is one array {tuple(getattr(content, 'shape', ()))}, and its {missing} are not beside it; "
            "give the file of the images, and that of the labels as `labels`"
        )
    files = (images_path, labels_path)
    rate = beside(images_path, "lr")
    form = "MTT/DATM images and labels" if images_path.name.startswith("images_") else "images and labels, a file each"
    published = PublishedSet(_images_in(images_path), _labels_in(labels_path), form, files)
    return published if rate is None else with_rate(published, rate, read_tensor_file(rate))


def _one_file(path: Path, content: Any, labels: Path | None) -> PublishedSet:
    """Return a set with images and labels in one file: a pair, or a dictionary with their names."""
    if isinstance(content, dict):
        images = _as_images(_named(content, _IMAGES))
        targets = _labels_in(labels) if labels else _as_labels(_named(content, _LABELS))
        if images is not None and targets is not None:
            files = (path, labels) if labels else (path,)
            published = PublishedSet(images, targets, "one file with images and labels by name", files)
            return with_extras(published, path, content)
    if isinstance(content, list | tuple) and len(content) == 2:
        images, targets = content[0] if _is_pair(content) else _as_images(content[0]), _as_labels(content[1])
        if images is not None and targets is not None:
            return PublishedSet(images, targets, "one file with a pair of images and labels", (path,))
    held = f"a dictionary of {', '.join(map(repr, list(content)[:_SHOWN]))}" if isinstance(content, dict) else ""
    raise DataError(
        f"{path} holds {held or type(content).__name__}, not a distilled set: wanted a 'data' list of "
        "[images, labels], 'images' and 'labels', a pair of them, one tensor for each class, or images or labels with "
        "the other in a file beside it"
    )


def _named(content: dict[Any, Any], names: Sequence[str]) -> Any:
    return next((content[name] for name in names if name in content), None)


def _is_one_array(path: Path, content: Any) -> bool:
    """Return True for images or labels alone; a list is taken for labels only where the images are beside it."""
    if isinstance(content, Tensor) or _as_images(content) is not None:
        return True
    return _as_labels(content) is not None and beside(path, "images") is not None


def _as_images(value: Any) -> Tensor | None:
    """Return one tensor of images, or a list of equal ones, as a tensor of at least three dimensions."""
    if isinstance(value, list) and value and all(isinstance(part, Tensor) for part in value):
        value = torch.stack(value) if len({(part.shape, part.dtype) for part in value}) == 1 else None
    return value if isinstance(value, Tensor) and value.ndim >= 3 else None


def _as_labels(value: Any) -> Labels | None:
    """Return a tensor, a list of names, or a list of numbers as labels."""
    if isinstance(value, list | tuple) and value:
        if all(isinstance(part, str) for part in value):
            return [str(part) for part in value]
        if all(isinstance(part, int | float) and abs(part) < _LARGEST for part in value):
            return torch.tensor(value)
    return value if isinstance(value, Tensor) else None


def _images_in(path: Path) -> Tensor:
    images = _as_images(read_tensor_file(path))
    if images is None:
        raise DataError(f"{path} should hold one tensor of images [N, C, H, W]")
    return images


def _labels_in(path: Path) -> Labels:
    content = read_tensor_file(path)
    labels = _as_labels(content)
    if labels is None:
        raise DataError(f"{path} should hold one tensor of labels, got {type(content).__name__}")
    return labels

"""Reading the images and labels of a published set from files of tensors, in any known layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError, DataError
from atom_distill.base.progress import note
from atom_distill.importing.each_class import by_class, in_class_files, of_classes
from atom_distill.importing.extras import with_extras, with_rate, with_soft_labels
from atom_distill.importing.find_files import beside, find_labels, find_set, tensor_files
from atom_distill.importing.published_set import PublishedSet
from atom_distill.importing.tensor_file import read_tensor_file
from atom_distill.importing.values import IMAGE_NAMES, LABEL_NAMES, as_images, as_labels, images_in, labels_in

_SHOWN = 5


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
    if len(files) > 1 and experiment is not None:
        raise ConfigError(f"{path} has one set in {len(files)} files; leave out `experiment`")
    published = _read_file(files[0], labels, experiment) if len(files) == 1 else _joined(files, labels)
    unused = [file.name for file in tensor_files(path) if file not in published.files]
    if unused:
        note(f"{path}: not used: {', '.join(unused[:_SHOWN])}{', ...' if len(unused) > _SHOWN else ''}")
    return published


def _read_file(path: Path, labels: Path | None, experiment: int | None) -> PublishedSet:
    content = read_tensor_file(path)
    if labels is not None and not _lacks_labels(content):
        raise ConfigError(f"{path} holds labels already; leave out `labels`")
    pairs = _experiments(content)
    if pairs is not None:
        return with_extras(_experiment(path, pairs, experiment), path, content)
    if experiment is not None:
        raise ConfigError(f"{path} does not hold several experiments; leave out `experiment`")
    if by_class(content) is not None:
        return of_classes(path, content, labels or beside(path, "labels"))
    if _is_one_array(path, content):
        return _side_by_side(path, content, labels)
    return _one_file(path, content, labels)


def _joined(files: Sequence[Path], given: Path | None) -> PublishedSet:
    """Return the set that is divided among files; `given` are the labels of all of them, if not those beside them."""
    form = f"{len(files)} files, {files[0].name} to {files[-1].name}"
    labels = given or find_labels(files[0].parent, files)
    if labels is not None:
        images = _concatenated([images_in(path) for path in files], files)
        published = PublishedSet(images, labels_in(labels), form, (*files, labels))
        return _with_files(published, None if given else beside(labels, "soft labels"), beside(files[0], "lr"))
    if (each := in_class_files(files)) is not None:
        return each
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
        part_sizes=tuple(len(part.images) for part in parts),
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
        named = _named(content, IMAGE_NAMES) is not None and _named(content, LABEL_NAMES) is None
        return named and _experiments(content) is None
    return as_images(content) is not None or by_class(content) is not None


def _experiments(content: Any) -> Sequence[Any] | None:
    """Return the pairs of a result file: the list of name "data", if it is not that of the images."""
    pairs = content.get("data") if isinstance(content, dict) else None
    if _is_pair(pairs):  # one experiment, not in a list
        return [pairs]
    return pairs if isinstance(pairs, list) and _named(content, LABEL_NAMES) is None else None


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
    if not isinstance(value, list | tuple) or len(value) != 2 or by_class(value) is not None:
        return False
    return all(isinstance(part, Tensor) for part in value)


def _side_by_side(path: Path, content: Any, labels: Path | None) -> PublishedSet:
    """Return a set with images in one file and labels in another; `path` may be either."""
    given_images = as_images(content) is not None
    images_path = path if given_images else beside(path, "images")
    soft_path = beside(images_path, "soft labels") if images_path and labels is None else None
    labels_path = (labels or beside(path, "labels") or soft_path) if given_images else path
    if images_path is None or labels_path is None:
        missing = "labels" if given_images else "images"
        raise DataError(
            f"{path} is one array {tuple(getattr(content, 'shape', ()))}, and its {missing} are not beside it; "
            "give the file of the images, and that of the labels as `labels`"
        )
    files = (images_path, labels_path)
    form = "MTT/DATM images and labels" if images_path.name.startswith("images_") else "images and labels, a file each"
    published = PublishedSet(images_in(images_path), labels_in(labels_path), form, files)
    return _with_files(published, None if soft_path == labels_path else soft_path, beside(images_path, "lr"))


def _with_files(published: PublishedSet, soft: Path | None, rate: Path | None) -> PublishedSet:
    """Add what the files of soft labels and of a learning rate hold, if there are such."""
    if soft is not None:
        published = with_soft_labels(published, soft, read_tensor_file(soft))
    return published if rate is None else with_rate(published, rate, read_tensor_file(rate))


def _one_file(path: Path, content: Any, labels: Path | None) -> PublishedSet:
    """Return a set with images and labels in one file: a pair, or a dictionary with their names."""
    if isinstance(content, dict):
        images = as_images(_named(content, IMAGE_NAMES))
        targets = labels_in(labels) if labels else as_labels(_named(content, LABEL_NAMES))
        if images is not None and targets is not None:
            files = (path, labels) if labels else (path,)
            published = PublishedSet(images, targets, "one file with images and labels by name", files)
            return with_extras(published, path, content)
    if isinstance(content, list | tuple) and len(content) == 2:
        images, targets = content[0] if _is_pair(content) else as_images(content[0]), as_labels(content[1])
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
    if isinstance(content, Tensor) or as_images(content) is not None:
        return True
    return as_labels(content) is not None and beside(path, "images") is not None

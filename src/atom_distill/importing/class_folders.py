"""Reading class folders of pictures as a published set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atom_distill.artifact.pictures import file_names
from atom_distill.base.errors import DataError, UnreadableImageError
from atom_distill.base.parsing import parse_json
from atom_distill.base.progress import note
from atom_distill.data.cache.pixels import to_eight_bits
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.folders import tree
from atom_distill.data.sources.listing import scan
from atom_distill.importing.class_names import labels_of_numbers, numbers_in, spelling_hint
from atom_distill.importing.find_files import tensor_files
from atom_distill.importing.published_set import PublishedSet

PICTURES = "class folders of pictures"
"""The `form` of such a set."""
_METADATA_FILE = "metadata.jsonl"


def holds_class_folders(path: Path) -> bool:
    """Return True if the folder has subfolders with images."""
    return path.is_dir() and bool(tree(scan(path)).filled())


def read_class_folders(folder: Path, dataset: ImageDataset) -> PublishedSet:
    """Return the images `<class>/*.png` (or JPEG, ...) as uint8, class after class, in the order of their file names.

    Args:
        folder: its subfolders are named as the classes of the data set, or as a run names them on disk; or are
            numbered by label, as those of SRe2L (`new000`) and RDED (`00000`).
        dataset: the real data set, for its classes and number of channels.

    Raises:
        DataError: the classes are not those of the data set.
        UnreadableImageError: an image cannot be decoded.
    """
    found = tree(scan(folder)).classes()
    labels = _labels_of(list(found), dataset)
    unknown = [name for name in found if name not in labels]
    missing = set(range(dataset.num_classes)) - {
        labels[name] for name, files in found.items() if files and name in labels
    }
    if unknown or missing:
        raise DataError(
            f"{folder}: the subfolders must be the classes of {dataset.name}, by name or by number from 0 to "
            f"{dataset.num_classes - 1}; "
            + "; ".join(
                [f"{name!r} is not a class{spelling_hint(name, dataset.class_names)}" for name in unknown[:3]]
                + [f"{dataset.class_names[label]!r} has no images" for label in sorted(missing)[:3]]
                + [f"if the set is in {file.name}, give that file" for file in tensor_files(folder)[:1]]
            )
        )
    places = [(labels[name], file) for name, files in found.items() for file in files]
    places.sort(key=lambda place: place[0])
    pictures = [_decode(folder / file, gray=dataset.image_shape[0] == 1) for _, file in places]
    sizes = {tuple(picture.shape[1:]) for picture in pictures}
    if len(sizes) > 1:
        raise DataError(f"{folder}: the images have several sizes ({sorted(sizes)[:3]}); a set needs one")
    return PublishedSet(
        images=torch.stack(pictures),
        labels=torch.tensor([label for label, _ in places]),
        form=PICTURES,
        files=tuple(folder / file for _, file in places),
        soft_labels=_soft_labels(folder / _METADATA_FILE, [file for _, file in places]),
    )


def _labels_of(folders: Sequence[str], dataset: ImageDataset) -> dict[str, int]:
    """Return the label of each name a class may have as a folder; numbers count only where no folder has a name."""
    labels = {name: label for label, name in enumerate(file_names(dataset.class_names))}
    labels |= {name: label for label, name in enumerate(dataset.class_names)}
    numbers = numbers_in(folders)
    if numbers is None or (numbers_in(dataset.class_names) is None and any(folder in labels for folder in folders)):
        return labels
    found = dict(zip(numbers, labels_of_numbers(list(numbers.values()), dataset.class_names), strict=True))
    contradict = any(labels.get(folder, label) != label for folder, label in found.items())
    if contradict or max(found.values()) >= dataset.num_classes:
        return labels
    moved = [folder for folder in sorted(found, key=found.__getitem__) if found[folder] != numbers[folder]]
    shown = [min(found, key=found.__getitem__), *moved[-1:]]
    by = "matched by their numbers, which are those in the names" if moved else "numbered, in the order"
    pairs = ", ".join(f"{folder} is {dataset.class_names[found[folder]]}" for folder in shown)
    note(f"the class folders are {by} of the classes of {dataset.name}: {pairs}")
    return found


def _soft_labels(path: Path, files: Sequence[str]) -> Tensor | None:
    """Return the soft labels that our own export of pictures keeps beside them."""
    if not path.is_file():
        return None
    try:
        rows = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        by_file = {row["file_name"]: row["soft_label"] for row in rows if "soft_label" in row}
        return torch.tensor([by_file[file] for file in files]) if by_file else None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has no soft label for each image ({error!r}); repair or remove it") from None


def _decode(path: Path, *, gray: bool) -> Tensor:
    try:
        with Image.open(path) as image:
            array = np.array(to_eight_bits(image, gray=gray))
    except Exception as error:  # Pillow's many readers raise many types for a damaged file
        raise UnreadableImageError(f"{path} cannot be read as an image ({error}); repair or remove it") from None
    return torch.from_numpy(np.atleast_3d(array)).permute(2, 0, 1)

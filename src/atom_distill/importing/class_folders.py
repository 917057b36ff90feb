"""Reading class folders of pictures as a published set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atom_distill.artifact.pictures import file_names
from atom_distill.base.errors import DataError, UnreadableImageError
from atom_distill.data.cache.pixels import to_eight_bits
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.sources.folders import tree
from atom_distill.data.sources.listing import scan
from atom_distill.importing.published_set import PublishedSet


def holds_class_folders(path: Path) -> bool:
    """Return True if the folder has subfolders with images."""
    return path.is_dir() and bool(tree(scan(path)).filled())


def read_class_folders(folder: Path, dataset: ImageDataset) -> PublishedSet:
    """Return the images `<class>/*.png` (or JPEG, ...) as uint8, class after class, in the order of their file names.

    Args:
        folder: its subfolders are named as the classes of the data set, or as a run names them on disk.
        dataset: the real data set, for its classes and number of channels.

    Raises:
        DataError: the classes are not those of the data set.
        UnreadableImageError: an image cannot be decoded.
    """
    found = tree(scan(folder)).classes()
    labels = {name: label for label, name in enumerate(file_names(dataset.class_names))}
    labels |= {name: label for label, name in enumerate(dataset.class_names)}
    unknown = [name for name in found if name not in labels]
    missing = set(range(dataset.num_classes)) - {
        labels[name] for name, files in found.items() if files and name in labels
    }
    if unknown or missing:
        raise DataError(
            f"{folder}: the subfolders must be the classes of {dataset.name}; "
            + "; ".join(
                [f"{name!r} is not a class" for name in unknown[:3]]
                + [f"{dataset.class_names[label]!r} has no images" for label in sorted(missing)[:3]]
            )
        )
    places = [(labels[name], folder / file) for name, files in found.items() for file in files]
    places.sort(key=lambda place: place[0])
    pictures = [_decode(path, gray=dataset.image_shape[0] == 1) for _, path in places]
    sizes = {tuple(picture.shape[1:]) for picture in pictures}
    if len(sizes) > 1:
        raise DataError(f"{folder}: the images have several sizes ({sorted(sizes)[:3]}); a set needs one")
    return PublishedSet(
        images=torch.stack(pictures),
        labels=torch.tensor([label for label, _ in places]),
        form="class folders of pictures",
        files=tuple(path for _, path in places),
    )


def _decode(path: Path, *, gray: bool) -> Tensor:
    try:
        with Image.open(path) as image:
            array = np.array(to_eight_bits(image, gray=gray))
    except Exception as error:  # Pillow's many readers raise many types for a damaged file
        raise UnreadableImageError(f"{path} cannot be read as an image ({error}); repair or remove it") from None
    return torch.from_numpy(np.atleast_3d(array)).permute(2, 0, 1)

"""Images and labels as the values of files hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.errors import DataError
from atom_distill.importing.published_set import Labels
from atom_distill.importing.tensor_file import read_tensor_file

IMAGE_NAMES = ("images", "data", "image", "x", "arr_0")
LABEL_NAMES = ("labels", "targets", "label", "target", "y", "arr_1")
"""Names of images and labels in one file; numpy calls arrays without a name arr_0 and arr_1."""
_LARGEST = 2**53
"""Every whole number below it is one in torch's types of integers and in float64."""


def as_images(value: Any) -> Tensor | None:
    """Return one tensor of images, or a list of equal ones, as a tensor of at least three dimensions."""
    if isinstance(value, list) and value and all(isinstance(part, Tensor) for part in value):
        value = torch.stack(value) if len({(part.shape, part.dtype) for part in value}) == 1 else None
    return value if isinstance(value, Tensor) and value.ndim >= 3 else None


def as_labels(value: Any) -> Labels | None:
    """Return a tensor, a list of names, or a list of numbers as labels."""
    if isinstance(value, list | tuple) and value:
        if all(isinstance(part, str) for part in value):
            return [str(part) for part in value]
        if all(isinstance(part, int | float) and abs(part) < _LARGEST for part in value):
            return torch.tensor(value)
    return value if isinstance(value, Tensor) else None


def is_dense(values: Tensor) -> bool:
    """Return True for a tensor with a value in memory for each entry."""
    return values.layout == torch.strided and not values.is_quantized and values.device.type == "cpu"


def images_in(path: Path) -> Tensor:
    """Return the images in a file that holds nothing else.

    Raises:
        DataError: it holds something else.
    """
    images = as_images(read_tensor_file(path))
    if images is None:
        raise DataError(f"{path} should hold one tensor of images [N, C, H, W]")
    return images


def labels_in(path: Path) -> Labels:
    """Return the labels in a file that holds nothing else.

    Raises:
        DataError: it holds something else.
    """
    content = read_tensor_file(path)
    labels = as_labels(content)
    if labels is None:
        raise DataError(f"{path} should hold one tensor of labels, got {type(content).__name__}")
    return labels

"""What networks are trained on: the images that stored values decode to, and their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atom_distill.ops.parameterization import Parameterization, Stored


class TrainingSet(NamedTuple):
    """What networks are trained on.

    Attributes:
        images: in model space, float32 [M, C, H, W].
        labels: int64 [M].
        soft_labels: float32 [M, K], probabilities to learn instead of the labels; None for most sets.
    """

    images: Tensor
    labels: Tensor
    soft_labels: Tensor | None

    @property
    def targets(self) -> Tensor:
        """What a network is trained to predict: the soft labels if there are any, else the labels."""
        return self.labels if self.soft_labels is None else self.soft_labels


def images_per_stored(
    settings: Mapping[str, Any], images: int, num_classes: int, image_shape: Sequence[int]
) -> float | None:
    """Return the decoded images for each image of the size in the settings, `ipc` or `budget`; None without one.

    An image of a size in `bytes` is the bytes of an uncompressed one.
    """
    ipc, budget, size = (settings.get(name) for name in ("ipc", "budget", "bytes"))
    if size:
        return max(1.0, images / num_classes * math.prod(image_shape) / int(size))
    stored = budget or (ipc or 0) * num_classes
    return images / stored if stored else None


def decoded(
    stored: Stored, row_labels: Tensor, parameterization: Parameterization, soft_labels: Tensor | None
) -> TrainingSet:
    """Return the training set that stored values decode to.

    Args:
        stored: values by name, [R, ...].
        row_labels: int64 [R].
        parameterization: decodes them.
        soft_labels: float32 [M, K], of the decoded images; None for hard labels.
    """
    with torch.no_grad():
        images = parameterization.decode(stored)
    return TrainingSet(images, row_labels.repeat_interleave(parameterization.images_per_row), soft_labels)

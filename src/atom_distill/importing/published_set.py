"""A published set as its files hold it, unchecked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from atom_distill.ops.preprocessing import Preprocessing

Labels = Tensor | Sequence[str]
"""Class numbers [N], soft labels [N, K], or the name of each image's class."""


@dataclass(frozen=True, eq=False)
class PublishedSet:
    """A set as it is in its files, unchecked.

    Attributes:
        images: expected [N, C, H, W]: floats in the publisher's model space, intensities, or uint8 pixels.
        labels: expected [N], or [N, K] if they are soft.
        form: description of the layout.
        files: the files that were read.
        network_lr: learning rate of networks, if it was distilled with the images.
        soft_labels: [N, K], if the file has them in addition to class numbers.
        class_names: index = label, if the file has them.
        preprocessing: the transform into the model space of the images, if the file has it.
        part_sizes: number of images in each file, if several files with labels of their own were joined.
    """

    images: Tensor
    labels: Labels
    form: str
    files: tuple[Path, ...]
    network_lr: float | None = None
    soft_labels: Tensor | None = None
    class_names: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    part_sizes: tuple[int, ...] = ()

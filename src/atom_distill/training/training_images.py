"""What an evaluation trains on: a handful of tensors, or a whole set of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from atom_distill.data.dataset import Split
from atom_distill.ops.preprocessing import Preprocessing


class TrainingImages(Protocol):
    """Images in model space, by index."""

    def __len__(self) -> int:
        """Return the number of images."""

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images float32 [B, C, H, W] and labels int64 [B] (or probabilities [B, K]) on the device."""

    def release(self) -> None:
        """Give up what is held on the device, until the next batch."""


class StoredTensors:
    """Images that are in model space already.

    Args:
        images: float32 [N, C, H, W].
        labels: int64 [N], or probabilities of the classes, float32 [N, K].
        device: where batches are wanted; all images are kept there from the first batch on.
    """

    def __init__(self, images: Tensor, labels: Tensor, device: torch.device) -> None:
        self._given, self._device = (images, labels), device
        self._on_device: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._given[1])

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """See `TrainingImages.batch`."""
        if self._on_device is None:
            images, labels = self._given
            self._on_device = images.to(self._device), labels.to(self._device)
        images, labels = self._on_device
        place = indices.to(self._device, non_blocking=True)
        return images[place], labels[place]

    def release(self) -> None:
        """See `TrainingImages.release`."""
        self._on_device = None


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images of a split, preprocessed batch by batch, so that memory does not grow with the set.

    Attributes:
        split: uint8 images and labels.
        preprocessing: brings them into model space.
        device: where batches are wanted.
        dtype: precision in which the preprocessing is computed.
    """

    split: Split
    preprocessing: Preprocessing
    device: torch.device
    dtype: torch.dtype = torch.float32

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """See `TrainingImages.batch`."""
        pixels = self.split.images[indices].to(self.device, non_blocking=True)
        labels = self.split.labels[indices].to(self.device, non_blocking=True)
        return self.preprocessing.apply(pixels, self.dtype).float(), labels

    def release(self) -> None:
        """See `TrainingImages.release`; nothing is held."""

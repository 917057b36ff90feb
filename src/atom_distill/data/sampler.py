"""Draw each step's real images, class by class."""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.ops.preprocessing import Preprocessing

_KEEP_FLOATS_BELOW = 1 << 30
"""Bytes up to which the whole set is kept in model space. Whitening is a [D, D] matrix product per image; doing it
once saves a third of a CIFAR step."""


class ClassSampler:
    """Real images of every class, drawn without replacement within a step.

    Args:
        dataset: the training split is drawn from.
        preprocessing: brings pixels into model space.
        batch: images per class; a smaller class gives all it has.
        device: where batches are wanted.

    Attributes:
        labels: class of each image of a batch, int64 [B], on the CPU, sorted; the same for every batch.
        counts: images of each class in a batch, int64 [K], on the CPU.
    """

    def __init__(self, dataset: ImageDataset, preprocessing: Preprocessing, batch: int, device: torch.device) -> None:
        self._indices = dataset.class_indices()
        self._preprocessing = preprocessing
        self._device = device
        self.counts = torch.tensor([min(batch, len(indices)) for indices in self._indices])
        self.labels = torch.repeat_interleave(torch.arange(len(self.counts)), self.counts)
        pixels = dataset.train.images
        self._pixels = pixels
        keep = preprocessing.kind == "zca" and pixels.numel() * 4 <= _KEEP_FLOATS_BELOW
        self._images = preprocessing.apply(pixels.to(device)) if keep else None

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw one batch in model space: float32 [B, C, H, W], in the order of `labels`."""
        chosen = torch.cat(
            [
                indices[torch.randperm(len(indices), generator=generator)[:count]]
                for indices, count in zip(self._indices, self.counts.tolist(), strict=True)
            ]
        )
        if self._images is not None:
            return self._images[chosen.to(self._device)]
        return self._preprocessing.apply(self._pixels[chosen].to(self._device))

"""The synthetic images before the first step."""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.seeding import generator
from atom_distill.config.distill import Init
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import random_subset
from atom_distill.ops.preprocessing import Preprocessing


def initial_images(
    dataset: ImageDataset, preprocessing: Preprocessing, *, init: Init, per_class: Tensor, seed: int
) -> Tensor:
    """Return the first synthetic images in model space, float32 [M, C, H, W], class after class.

    Args:
        dataset: real images are taken from its training split.
        preprocessing: brings them into model space.
        init: real images of the class, or standard Gaussian noise.
        per_class: images of each class, int64 [K].
        seed: the run's seed.

    Raises:
        ConfigError: init is "real" and a class has fewer.
    """
    if init == "real":
        return preprocessing.apply(dataset.train.images[random_subset(dataset, per_class, seed)])
    shape = (int(per_class.sum()), *dataset.image_shape)
    return torch.randn(shape, generator=generator(seed, "initial"))

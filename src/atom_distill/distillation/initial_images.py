"""The synthetic images before the first step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atom_distill.base.seeding import derive_seed, generator
from atom_distill.config.distill import Init
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import random_subset, require_images
from atom_distill.ops.coresets import nearest_to_k_means
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.training.embeddings import Embeddings


def initial_images(
    dataset: ImageDataset,
    preprocessing: Preprocessing,
    *,
    init: Init,
    per_class: Tensor,
    seed: int,
    embeddings: Callable[[], Embeddings] | None = None,
) -> Tensor:
    """Return the first synthetic images in model space, float32 [M, C, H, W], class after class.

    Args:
        dataset: real images are taken from its training split.
        preprocessing: brings them into model space.
        init: random real images of the class, those nearest to the centers of its clusters, or standard Gaussian noise.
        per_class: images of each class, int64 [K].
        seed: the run's seed.
        embeddings: returns those that k-means clusters; called only for it.

    Raises:
        ConfigError: the images are real, and a class has fewer.
    """
    if init == "real":
        return preprocessing.apply(dataset.train.images[random_subset(dataset, per_class, seed)])
    if init == "k-means":
        assert embeddings is not None
        return preprocessing.apply(dataset.train.images[central_images(dataset, embeddings(), per_class, seed)])
    shape = (int(per_class.sum()), *dataset.image_shape)
    return torch.randn(shape, generator=generator(seed, "initial"))


def central_images(dataset: ImageDataset, embeddings: Embeddings, per_class: Tensor, seed: int) -> Tensor:
    """Return indices of the images nearest to the centers of each class's clusters, int64 [M], class after class.

    Args:
        dataset: its training split is clustered, each class by itself.
        embeddings: of the training images.
        per_class: clusters of each class, int64 [K].
        seed: the run's seed.

    Raises:
        ConfigError: a class has fewer images.
    """
    require_images(dataset, per_class)
    chosen = []
    for label, (indices, count) in enumerate(zip(dataset.class_indices(), per_class.tolist(), strict=True)):
        clusters = derive_seed(seed, "k-means", label)
        chosen.append(indices[nearest_to_k_means(embeddings(indices), count, clusters)])
    return torch.cat(chosen)

"""Random real images as a set, for benchmarks of evaluation."""

from __future__ import annotations

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.subset import random_subset


def random_set(dataset: ImageDataset, ipc: int, preprocess: str) -> DistilledDataset:
    """Return random real images as a set."""
    preprocessing = fit_preprocessing(preprocess, dataset)
    chosen = random_subset(dataset, ipc, seed=0)
    return DistilledDataset.from_images(
        images=preprocessing.apply(dataset.train.images[chosen]),
        labels=dataset.train.labels[chosen],
        class_names=dataset.class_names,
        preprocessing=preprocessing,
        settings={},
    )

"""Distilled sets made of real images, without a run."""

from __future__ import annotations

from typing import Any

import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.subset import random_subset
from distillation.toys import toy_dataset

NAMES = ("cat", "dog", "sea lion")


def distilled(
    kind: str = "normalize",
    ipc: int = 2,
    names: tuple[str, ...] = NAMES,
    shape: tuple[int, int, int] = (3, 8, 8),
    **changes: Any,
) -> tuple[DistilledDataset, torch.Tensor]:
    """A set of real images, and their pixels."""
    data = toy_dataset((9,) * len(names), shape=shape, names=names)
    preprocessing = fit_preprocessing(kind, data)
    chosen = random_subset(data, ipc, seed=0)
    made = {
        "images": preprocessing.apply(data.train.images[chosen]),
        "labels": data.train.labels[chosen],
        "class_names": data.class_names,
        "preprocessing": preprocessing,
        "settings": {"method": "atom", "ipc": ipc, "image_lr": 1.0, "depth": None},
        "dataset": {"name": "toy", "fingerprint": "abc", "train_size": 27},
        "record": {"atom_distill": "0.1.0", "torch": "2"},
        "history": [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 1.5}],
        "steps": 2,
    }
    return DistilledDataset.from_images(**(made | changes)), data.train.images[chosen]

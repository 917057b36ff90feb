"""Small data sets made in memory, whose classes differ in where they are bright, and small runs on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from atom_distill.api import distill
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.data.dataset import ImageDataset, Split

SETTINGS = {
    "ipc": 1,
    "steps": 8,
    "width": 8,
    "batch_real": 6,
    "checkpoint_every": 2,
    "compile": "off",
    "device": "cpu",
    "preprocess": "normalize",
}


def toy_dataset(
    counts: Sequence[int] = (9, 9, 9),
    *,
    test_per_class: int = 4,
    shape: tuple[int, int, int] = (3, 8, 8),
    names: Sequence[str] | None = None,
    name: str = "toy",
) -> ImageDataset:
    """`counts[k]` training images of class k, no two alike: noise, and a brighter stripe of rows for each class."""
    random = torch.Generator().manual_seed(len(counts))
    train = Split(*_images(counts, shape, random))
    test = Split(*_images([test_per_class] * len(counts), shape, random))
    classes = tuple(names or (f"class {label}" for label in range(len(counts))))
    return ImageDataset(name, train, test, classes, "made in memory", fingerprint=f"{name} {tuple(counts)} {shape}")


def _images(counts: Sequence[int], shape: tuple[int, int, int], random: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=random)]  # classes come in no order
    images = torch.randint(0, 120, (len(labels), *shape), generator=random)
    rows = shape[1] // len(counts)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, label * rows : (label + 1) * rows] += 120
    return images.to(torch.uint8), labels


def go(
    out: Path | None = None, *, data: ImageDataset | None = None, resume: bool = False, **changes
) -> DistilledDataset:
    return distill(data or toy_dataset(), out=out, resume=resume, show_progress=False, **{**SETTINGS, **changes})


def losses(folder: Path) -> list[tuple[int, float]]:
    """Give step and loss of every line of a run's metrics."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(entry["step"], entry["loss"]) for entry in entries]

"""Distilled sets in small, of every kind that an export must not lose anything of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from distillation.toys import toy_dataset

NAMES = ("zebra", "ant", "sea lion", "ant 10", "Ant")
"""In no alphabetical order, with a blank, and two that are one to some file systems."""

RECORD = {
    "atom_distill": "0.1.0",
    "torch": "2",
    "command": "atom distill /home/jane/pets --ipc 2 --out run",
    "method": {"title": "ATOM", "paper": "2405.01373"},
}


@pytest.fixture(autouse=True)
def _loads_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the `datasets` library in a folder of the test, away from the network."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    os.environ.pop("HF_TOKEN", None)


@pytest.fixture
def data() -> ImageDataset:
    return toy_dataset((9,) * len(NAMES), names=NAMES)


@pytest.fixture
def gray() -> ImageDataset:
    return toy_dataset((9,) * len(NAMES), shape=(1, 8, 6), names=NAMES)


@pytest.fixture
def distill() -> Callable[..., DistilledDataset]:
    """Make a set of a data set: noise far outside the range of a pixel, as distilled images have it.

    `distill(data, kind="zca", sizes=(2, 2, 2, 2, 2), soft=False)`, and any other attributes by name.
    """

    def make(
        data: ImageDataset,
        kind: str = "zca",
        sizes: tuple[int, ...] = (2,) * len(NAMES),
        *,
        soft: bool = False,
        **changes: Any,
    ) -> DistilledDataset:
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((len(labels), *data.image_shape), generator=generator)
        logits = torch.randn((len(labels), len(sizes)), generator=generator)
        counts = {"ipc": sizes[0]} if len(set(sizes)) == 1 else {"budget": len(labels)}
        made = {
            "images": images,
            "labels": labels,
            "class_names": data.class_names,
            "preprocessing": fit_preprocessing(kind, data),
            "settings": {"method": "atom", **counts, "preprocess": kind, "arch": "convnet"},
            "dataset": data.identity(),
            "record": RECORD,
            "steps": 3,
            "soft_labels": logits.softmax(1) if soft else None,
        }
        return DistilledDataset.from_images(**(made | changes))

    return make

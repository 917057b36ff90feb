"""Published layouts in small: a toy data set, a balanced set of its images in model space, and files of every kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.subset import random_subset
from distillation.toys import toy_dataset

IPC = 2


@pytest.fixture
def data() -> ImageDataset:
    return toy_dataset((9, 9, 9), names=("cat", "dog", "sea lion"))


@pytest.fixture
def pixels(data: ImageDataset) -> Tensor:
    """Two training images of each of the three classes, class after class: uint8 [6, 3, 8, 8]."""
    return data.train.images[random_subset(data, IPC, seed=0)]


@pytest.fixture
def images(data: ImageDataset, pixels: Tensor) -> Tensor:
    """The same, normalized."""
    return fit_preprocessing("normalize", data).apply(pixels)


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(3).repeat_interleave(IPC)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Save anything as torch does: `write("images.pt", tensor)`."""

    def save(name: str, content: Any) -> Path:
        path = tmp_path / "published" / name
        path.parent.mkdir(exist_ok=True)
        torch.save(content, path)
        return path

    return save


class Unpickled:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def unpickled(tmp_path: Path) -> Unpickled:
    return Unpickled(tmp_path / "unpickled")

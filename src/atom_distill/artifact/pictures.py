"""Distilled images as pictures: a PNG each, and one grid of all."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from atom_distill.base.files import atomic_folder, atomic_path
from atom_distill.base.image_grid import image_grid, to_picture
from atom_distill.base.plain_text import shortened

_GRID_COLUMNS = 10
_GRID_ROWS_AT_MOST = 20
_TILE = 96
_GAP = 4
_FAINTEST = 0.01
"""Share of an image's values that may be clipped at either end of its contrast."""
_MAX_NAME_BYTES = 80
"""Length of a folder name, to which "class-" and a number may be added; file systems take 255, Windows 260 a path."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names of devices on Windows, with any ending."""


def fit_contrast(intensities: Tensor) -> Tensor:
    """Compress each image's range so that a picture can show it; one that lies within [0, 1] stays as it is.

    Whitened images come back with intensities far outside [0, 1]. Clipped there, as the PNGs are, most of them is
    black or white.

    Args:
        intensities: float [N, C, H, W], nominally in [0, 1].

    Returns:
        uint8 [N, C, H, W].
    """
    flat = intensities.flatten(1)
    low = flat.quantile(_FAINTEST, dim=1).clamp(max=0).view(-1, 1, 1, 1)
    high = flat.quantile(1 - _FAINTEST, dim=1).clamp(min=1).view(-1, 1, 1, 1)
    return ((intensities - low) / (high - low)).mul(255).round().clamp(0, 255).to(torch.uint8)


def grid(pixels: Tensor, per_class: Tensor) -> Image.Image:
    """Return one RGB picture of a set: a row per class, or rows of 10 images if every class has one image.

    Args:
        pixels: uint8 [M, C, H, W], class after class; the first 10 of each class and the first 20 rows are shown.
        per_class: images of each class, int64 [K].
    """
    if bool((per_class == 1).all()):
        rows = list(pixels.split(_GRID_COLUMNS))
    else:
        rows = [of_class[:_GRID_COLUMNS] for of_class in pixels.split(per_class.tolist()) if len(of_class)]
    rows = rows[:_GRID_ROWS_AT_MOST]
    height, width = pixels.shape[2:]
    scale = max(1, _TILE // max(height, width))
    return image_grid(rows, tile=(width * scale, height * scale), gap=_GAP).convert("RGB")


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG atomically."""
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def save_images(folder: Path, pixels: Tensor, labels: Sequence[int], class_names: Sequence[str]) -> None:
    """Write `<class>/NNNN.png` for every image; the folder is replaced as a whole."""
    with atomic_folder(folder) as temporary:
        place_images(temporary, pixels, labels, class_names)


def place_images(folder: Path, pixels: Tensor, labels: Sequence[int], class_names: Sequence[str]) -> list[str]:
    """Write `<class>/NNNN.png` into a folder that is there, and say what each image is called, with `/`."""
    names = file_names(class_names)
    counts = [0] * len(names)
    placed = []
    for image, label in zip(pixels, labels, strict=True):
        (folder / names[label]).mkdir(exist_ok=True)
        placed.append(f"{names[label]}/{counts[label]:04d}.png")
        to_picture(image).save(folder / placed[-1])
        counts[label] += 1
    return placed


def file_names(class_names: Sequence[str]) -> list[str]:
    """Return a folder name for each class: at most 100 bytes, fit for every file system, and all different.

    Names that differ only in case, or in how accents are encoded, are one to some file systems: they get a number.
    """
    names = [_file_name(name) for name in class_names]
    seen = Counter(name.casefold() for name in names)
    told_apart = [name if seen[name.casefold()] == 1 else f"{name}-{index}" for index, name in enumerate(names)]
    if len({name.casefold() for name in told_apart}) == len(names):
        return told_apart
    return [f"{index}-{name}" for index, name in enumerate(names)]  # a number made one the same as another name


def _file_name(name: str) -> str:
    cleaned = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._").lstrip("-")
    cleaned = shortened(cleaned, _MAX_NAME_BYTES).rstrip("._") or "class"
    return f"class-{cleaned}" if _RESERVED.match(cleaned) else cleaned

"""What a card says about the folder it lies in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atom_distill.artifact.card import text
from atom_distill.artifact.card.content import CardContent
from atom_distill.artifact.card.decoder import decoder, is_compact
from atom_distill.artifact.card.header import data_files

GRID_FILE = "grid.png"
"""The picture of all images, which every card shows."""


@dataclass(frozen=True)
class Layout:
    """What a card says about the folder it lies in.

    Attributes:
        data: which files are the data, for the header (see `data_files`).
        use: how to load the set and train on it, Markdown.
        files: name and meaning of each file.
    """

    data: Mapping[str, Any]
    use: str
    files: Sequence[tuple[str, str]]


def run_layout(content: CardContent) -> Layout:
    """Return the layout of a run folder; the hub's viewer shows its pictures."""
    return Layout(
        data_files("images/*/*.png"),
        text.RUN_USE.format(preprocess=content.preprocess) + decoder_text(content, "distilled.safetensors"),
        [*run_files(content), ("images/", "the images through the inverse transform, as PNG")],
    )


def decoder_text(content: CardContent, place: str) -> str:
    """Return how to decode a tensor file without this package; empty for one that holds images, or cannot be told."""
    code = decoder(content, place) if is_compact(content) else None
    return "" if code is None else text.DECODER.format(code=code)


def run_files(content: CardContent) -> list[tuple[str, str]]:
    """Return name and meaning of the files from which a run is loaded."""
    parameterization = content.settings.get("parameterization", "pixels")
    images, labels = "images [N, C, H, W] float32 in model space", "labels [N] int64"
    if content.rounded:
        labels = "rows of each class"
        images = f"packed values that `DistilledDataset.load` decodes to images by `{parameterization}`"
    elif parameterization != "pixels":
        images = f"values [N, ...] float32 that `DistilledDataset.load` decodes to images by `{parameterization}`"
    soft = f" for sorting, {_soft_labels(content)} to train on" if content.has_soft_labels else ""
    return [
        ("distilled.safetensors", f"{images}, {labels}{soft}"),
        ("preprocessing.safetensors", "the transform between pixels and model space"),
        ("config.yaml", "every setting, the data set, versions, seed"),
        ("metrics.jsonl", "the loss of each step, by term"),
        ("scores.json", "every evaluation with its protocol"),
    ]


def _soft_labels(content: CardContent) -> str:
    """Return what the file of a run holds as soft labels, and their size, which counts as the values' does."""
    values = content.images * len(content.class_names)
    kind = "float16" if content.soft_label_bytes == 2 * values else "float32"
    size = f", {content.soft_label_bytes:,} bytes" if content.soft_label_bytes else ""
    return f"soft_labels [N, K] {kind} (probabilities{size})"

"""Python for each format, which loads an export with common libraries, without this package.

Four lines, or more where stored values are decoded.
Each defines `loader`, whose batches are (images float32 [B, C, H, W], labels int64 [B] or probabilities [B, K]).
"""

from __future__ import annotations

import json

from atom_distill.artifact.card.content import CardContent
from atom_distill.artifact.card.decoder import decoder

_LOADER = (
    "loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True)"
)


def pt(content: CardContent, place: str) -> str:
    """Load with torch."""
    soft = content.has_soft_labels
    images, labels = ('stored["data"][0][0]', ', stored["soft_labels"]') if soft else ('stored["data"][0]', "")
    return _lines(
        "import torch",
        f"stored = torch.load({json.dumps(place)})",
        f"images, labels = {images}{labels}  # model space",
    )


def npz(content: CardContent, place: str) -> str:
    """Load with numpy."""
    labels = "soft_labels" if content.has_soft_labels else "labels"
    return _lines(
        "import numpy, torch",
        f"stored = numpy.load({json.dumps(place)})",
        f'images, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["{labels}"])  # model space',
    )


def parquet(content: CardContent, place: str) -> str:
    """Load with pandas."""
    labels = 'numpy.stack(table["soft_label"])' if content.has_soft_labels else 'table["label"]'
    images = f'torch.tensor(numpy.stack(table["model_space"])).view(-1, {_shape(content)})'
    return _lines(
        "import numpy, pandas, torch",
        f"table = pandas.read_parquet({json.dumps(f'{place}/train.parquet')})",
        f"images, labels = {images}, torch.tensor({labels})",
    )


def safetensors(content: CardContent, place: str) -> str:
    """Decode what is stored with numpy, torch and safetensors."""
    code = decoder(content, f"{place}/distilled.safetensors")
    if code is not None:
        return code + _LOADER + "\n"
    return _lines(
        "import atom_distill, torch",
        f"distilled = atom_distill.DistilledDataset.load({json.dumps(place)})",
        "images, labels = distilled.images, distilled.targets  # model space",
    )


def hub(content: CardContent, place: str) -> str:
    """Load the tensors with Hugging Face datasets, from a folder or the hub."""
    images = f'rows["model_space"].view(-1, {_shape(content)})'
    return _with_datasets(content, place, images, 'rows["image"]: the pictures')


def pictures(content: CardContent, place: str) -> str:
    """Load the pictures with Hugging Face datasets."""
    return _with_datasets(content, place, 'rows["image"] / 255', "pixels in 0..1")


def _with_datasets(content: CardContent, place: str, images: str, remark: str) -> str:
    labels = "soft_label" if content.has_soft_labels else "label"
    return _lines(
        "import datasets, torch",
        f'rows = datasets.load_dataset({json.dumps(place)}, split="train").with_format("torch")[:]',
        f'images, labels = {images}, rows["{labels}"]  # {remark}',
    )


def _shape(content: CardContent) -> str:
    return ", ".join(map(str, content.image_shape))


def _lines(*lines: str) -> str:
    return "\n".join([*lines, _LOADER]) + "\n"

"""Four lines of Python for each format: they load it with what its readers have installed, not with this package.

Each leaves `loader`, whose batches are (images float32 [B, C, H, W], labels int64 [B] or probabilities [B, K]).
"""

from __future__ import annotations

import json

from atom_distill.artifact.distilled import DistilledDataset

_LOADER = (
    "loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=64, shuffle=True)"
)


def pt(distilled: DistilledDataset, place: str) -> str:
    """Load with plain torch."""
    images, labels = 'stored["data"][0]', ""
    if distilled.soft_labels is not None:
        images, labels = 'stored["data"][0][0]', ', stored["soft_labels"]'
    return _lines(
        "import torch",
        f"stored = torch.load({json.dumps(place)})",
        f"images, labels = {images}{labels}  # model space",
    )


def npz(distilled: DistilledDataset, place: str) -> str:
    """Load with numpy."""
    labels = "labels" if distilled.soft_labels is None else "soft_labels"
    return _lines(
        "import numpy, torch",
        f"stored = numpy.load({json.dumps(place)})",
        f'images, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["{labels}"])  # model space',
    )


def parquet(distilled: DistilledDataset, place: str) -> str:
    """Load with pandas."""
    shape = ", ".join(map(str, distilled.images.shape[1:]))
    labels = 'table["label"]' if distilled.soft_labels is None else 'numpy.stack(table["soft_label"])'
    images = f'torch.tensor(numpy.stack(table["model_space"])).view(-1, {shape})'
    return _lines(
        "import numpy, pandas, torch",
        f"table = pandas.read_parquet({json.dumps(f'{place}/train.parquet')})",
        f"images, labels = {images}, torch.tensor({labels})",
    )


def hub(distilled: DistilledDataset, place: str) -> str:
    """Load the tensors with Hugging Face datasets, from a folder or the hub."""
    shape = ", ".join(map(str, distilled.images.shape[1:]))
    return _with_datasets(distilled, place, f'rows["model_space"].view(-1, {shape})', 'rows["image"]: the pictures')


def pictures(distilled: DistilledDataset, place: str) -> str:
    """Load the pictures with Hugging Face datasets."""
    return _with_datasets(distilled, place, 'rows["image"] / 255', "pixels in 0..1")


def _with_datasets(distilled: DistilledDataset, place: str, images: str, remark: str) -> str:
    labels = "label" if distilled.soft_labels is None else "soft_label"
    return _lines(
        "import datasets, torch",
        f'rows = datasets.load_dataset({json.dumps(place)}, split="train").with_format("torch")[:]',
        f'images, labels = {images}, rows["{labels}"]  # {remark}',
    )


def _lines(*lines: str) -> str:
    return "\n".join([*lines, _LOADER]) + "\n"

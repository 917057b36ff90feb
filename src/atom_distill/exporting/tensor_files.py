"""Exports as one file of tensors: `.pt` in the layout of the result files of DC and DM, `.npz` for numpy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.ops.preprocessing import Preprocessing, ZCAWhitening


def write_pt(distilled: DistilledDataset, path: Path) -> None:
    """Write `{"data": [[images, labels]], ...}`, which the evaluation scripts of DC, DSA and DM load.

    The labels in `data` are class numbers, since those scripts take no others; soft labels are under `soft_labels`. The
    file holds only tensors, numbers, text, lists and dictionaries, so `torch.load(weights_only=True)` opens it.
    """
    content: dict[str, Any] = {
        "data": [[distilled.images.clone(), distilled.labels.clone()]],  # of a view, torch would save the whole storage
        "accs_all_exps": {},  # the scripts' own scores, without a protocol; ours are in the run
        "class_names": list(distilled.class_names),
        "pixels": distilled.pixels(),
        "preprocessing": {"kind": distilled.preprocessing.kind, **plain_transform(distilled.preprocessing)},
        **_soft(distilled),
        **learning_rate(distilled),
    }
    packed = io.BytesIO()
    torch.save(content, packed)
    path.write_bytes(packed.getbuffer())  # where the disk is full, torch would raise a RuntimeError that names none


def write_npz(distilled: DistilledDataset, path: Path) -> None:
    """Write images, labels, class names, pixels, the transform and any learning rate as arrays, without a pickle."""
    tensors = {"images": distilled.images, "labels": distilled.labels, "pixels": distilled.pixels()}
    content: dict[str, Any] = {name: tensor.numpy() for name, tensor in {**tensors, **_soft(distilled)}.items()}
    content["class_names"] = np.array(distilled.class_names)
    transform = arrays_of_transform(distilled.preprocessing)
    content |= {f"preprocessing_{name}": array for name, array in transform.items()}
    content |= learning_rate(distilled)
    with path.open("wb") as file:  # numpy would add a suffix to a path
        np.savez(file, **content)


def arrays_of_transform(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return `kind` (text) and the tensors of `plain_transform` as numpy arrays."""
    tensors = plain_transform(preprocessing)
    return {"kind": np.array(preprocessing.kind), **{name: tensor.numpy() for name, tensor in tensors.items()}}


def plain_transform(preprocessing: Preprocessing) -> dict[str, Tensor]:
    """Return the transform as tensors with which one line of code applies or inverts it.

    Returns:
        `mean` and `std` of the channels [C], for (intensities - mean) / std; or `mean` [D] and `transform` [D, D],
        for (intensities - mean) @ transform with one image per row. The matrix takes 38 MB for 32x32x3; its inverse
        inverts the transform.
    """
    if isinstance(preprocessing, ZCAWhitening):
        return {"mean": preprocessing.mean, "transform": preprocessing.transform}
    return preprocessing.tensors()


def learning_rate(distilled: DistilledDataset) -> dict[str, Any]:
    """Return the learning rate of networks by its name in files, `lr`, if one was distilled with the images."""
    rate = distilled.settings.get("network_lr")
    return {} if rate is None else {"lr": float(rate)}


def _soft(distilled: DistilledDataset) -> dict[str, Tensor]:
    return {} if distilled.soft_labels is None else {"soft_labels": distilled.soft_labels}

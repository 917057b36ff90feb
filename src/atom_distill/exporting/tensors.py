"""One file of tensors: `.pt` in the layout of DC's and DM's result files, `.npz` for numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.ops.preprocessing import Preprocessing, ZCAWhitening


def write_pt(distilled: DistilledDataset, path: Path) -> None:
    """Write `{"data": [[images, labels]], ...}`, which the evaluation scripts of DC, DSA and DM load.

    The labels there are class numbers, the only ones those scripts take; soft ones lie beside as `soft_labels`. Nothing
    but tensors, numbers, text, lists and dictionaries is in the file: `torch.load` opens it with its safety on.
    """
    content: dict[str, Any] = {
        "data": [[distilled.images.clone(), distilled.labels.clone()]],  # a view would bring all it is a part of
        "accs_all_exps": {},  # the scripts' own scores; ours say their protocol, and are in the run
        "class_names": list(distilled.class_names),
        "pixels": distilled.pixels(),
        "preprocessing": {"kind": distilled.preprocessing.kind, **plain_transform(distilled.preprocessing)},
        **_more(distilled),
    }
    if "network_lr" in distilled.settings:
        content["lr"] = float(distilled.settings["network_lr"])
    torch.save(content, path)


def write_npz(distilled: DistilledDataset, path: Path) -> None:
    """Write an array each for images, labels, class names, pixels and the transform; no pickle is in it."""
    tensors = {
        "images": distilled.images,
        "labels": distilled.labels,
        **_more(distilled),
        "pixels": distilled.pixels(),
    }
    content: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    content["class_names"] = np.array(distilled.class_names)
    transform = arrays_of_transform(distilled.preprocessing)
    content |= {f"preprocessing_{name}": array for name, array in transform.items()}
    with path.open("wb") as file:  # given a name, numpy would add a suffix to it
        np.savez(file, **content)


def arrays_of_transform(preprocessing: Preprocessing) -> dict[str, Any]:
    """Give `kind` (a text) and what `plain_transform` gives, as numpy arrays."""
    tensors = plain_transform(preprocessing)
    return {"kind": np.array(preprocessing.kind), **{name: tensor.numpy() for name, tensor in tensors.items()}}


def plain_transform(preprocessing: Preprocessing) -> dict[str, Tensor]:
    """Give the transform so that one line of anybody's code applies it, and one undoes it.

    Returns:
        `mean` and `std` of the channels [C], for (intensities - mean) / std; or `mean` [D] and `transform` [D, D],
        for (intensities - mean) @ transform with an image as one row: a matrix of 38 MB at 32x32x3, whose inverse
        leads back.
    """
    if isinstance(preprocessing, ZCAWhitening):
        return {"mean": preprocessing.mean, "transform": preprocessing.transform}
    return preprocessing.tensors()


def _more(distilled: DistilledDataset) -> dict[str, Tensor]:
    return {} if distilled.soft_labels is None else {"soft_labels": distilled.soft_labels}

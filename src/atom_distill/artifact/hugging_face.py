"""A distilled set as a dataset of the library `datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from atom_distill.base.image_grid import to_picture

if TYPE_CHECKING:
    import datasets


def hugging_face_dataset(
    pixels: Tensor, labels: Tensor, class_names: Sequence[str], soft_labels: Tensor | None
) -> datasets.Dataset:
    """Return a dataset with the columns `image`, `label` and, if there are soft labels, `soft_label`.

    Args:
        pixels: uint8 [M, C, H, W].
        labels: int64 [M].
        class_names: index = label.
        soft_labels: float32 [M, K], or None.
    """
    from datasets import ClassLabel, Dataset, Features, Image, Sequence, Value

    features = {"image": Image(), "label": ClassLabel(names=list(class_names))}
    columns: dict[str, Any] = {"image": [to_picture(image) for image in pixels], "label": labels.tolist()}
    if soft_labels is not None:
        features["soft_label"] = Sequence(Value("float32"))
        columns["soft_label"] = soft_labels.numpy()
    return Dataset.from_dict(columns, features=Features(features))

"""Export as one parquet table with a row per image: the picture, the label, and the tensor in model space."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from atom_distill.artifact.card.content import CardContent
from atom_distill.artifact.card.header import data_files, features
from atom_distill.artifact.card.layout import Layout
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.exporting import examples, usage_text
from atom_distill.exporting.clipping import clipping_of
from atom_distill.exporting.tensor_files import arrays_of_transform, learning_rate
from atom_distill.exporting.write_card import write_card


def write_parquet(distilled: DistilledDataset, folder: Path) -> None:
    """Write the table, the transform and any learning rate beside it, the card and its picture."""
    content, table, transform = distilled.card_content(), "train.parquet", "preprocessing.npz"
    write_table(distilled, folder / table)
    rate = learning_rate(distilled)
    np.savez(folder / transform, **arrays_of_transform(distilled.preprocessing), **rate)
    use = usage_text.PARQUET_USE.format(
        example=examples.parquet(content, usage_text.HERE), clipping=clipping_of(distilled)
    )
    what = f"the transform between pixels and model space ({content.preprocess})"
    what += "; `lr`, the learning rate that was distilled with the images" if rate else ""
    write_card(
        distilled, folder, Layout(table_data(content, table), use, [(table, table_columns(content)), (transform, what)])
    )


def write_table(distilled: DistilledDataset, path: Path) -> None:
    """Write a row per image: `image` (PNG), `label`, `soft_label` if there are any, `model_space` float32 [C*H*W]."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    from datasets import Sequence, Value

    flat = distilled.images.flatten(1)
    column = Sequence(Value("float32"), length=flat.shape[1])
    table = distilled.to_hf().add_column("model_space", list(flat.numpy()), feature=column)
    # not its own to_parquet, which draws a progress bar
    pq.write_table(table.with_format("arrow")[:].replace_schema_metadata(table.features.arrow_schema.metadata), path)


def table_data(content: CardContent, path: str) -> dict[str, Any]:
    """Return the entries of a card's header that describe the table."""
    model_space = {"name": "model_space", "list": "float32", "length": prod(content.image_shape)}
    return {**data_files(path), "dataset_info": {"features": [*features(content), model_space]}}


def table_columns(content: CardContent) -> str:
    """Return what a card says about the columns of the table."""
    soft = ", `soft_label` [K] probabilities to train on" if content.has_soft_labels else ""
    return f"a row per image: `image` PNG, `label`{soft}, `model_space` [C*H*W] float32"

"""One parquet table with a row an image: the picture, the label, and the tensor in model space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atom_distill.artifact.card import GRID_FILE, Layout, card
from atom_distill.artifact.card_header import data_files, features
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import CARD_FILE
from atom_distill.artifact.pictures import fit_contrast, grid, save_picture
from atom_distill.base.files import write_text
from atom_distill.exporting import card_text, examples
from atom_distill.exporting.clipping import clipping_of
from atom_distill.exporting.tensors import arrays_of_transform

TABLE_FILE = "train.parquet"


def write_parquet(distilled: DistilledDataset, folder: Path) -> None:
    """Write the table, the transform beside it, the card and its picture."""
    write_table(distilled, folder / TABLE_FILE)
    np.savez(folder / "preprocessing.npz", **arrays_of_transform(distilled.preprocessing))
    write_card(distilled, folder, _layout(distilled))


def write_table(distilled: DistilledDataset, path: Path) -> None:
    """Write a row an image: `image` (PNG), `label`, `soft_label` if there are any, `model_space` float32 [C*H*W]."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    from datasets import Sequence, Value

    flat = distilled.images.flatten(1)
    column = Sequence(Value("float32"), length=flat.shape[1])
    table = distilled.to_hf().add_column("model_space", list(flat.numpy()), feature=column)
    # not its own to_parquet, which draws a bar of one step
    pq.write_table(table.with_format("arrow")[:].replace_schema_metadata(table.features.arrow_schema.metadata), path)


def table_data(distilled: DistilledDataset, path: str) -> dict[str, Any]:
    """Describe the table for a card's header."""
    model_space = {"name": "model_space", "list": "float32", "length": distilled.images[0].numel()}
    return {**data_files(path), "dataset_info": {"features": [*features(distilled), model_space]}}


def columns_held(distilled: DistilledDataset) -> str:
    """Say what is in the table."""
    soft = "" if distilled.soft_labels is None else ", `soft_label` [K] probabilities to train on"
    return f"a row an image: `image` PNG, `label`{soft}, `model_space` [C*H*W] float32"


def write_card(distilled: DistilledDataset, folder: Path, layout: Layout) -> None:
    """Write a folder's card, and the picture on it."""
    pixels = fit_contrast(distilled.preprocessing.invert(distilled.images))
    save_picture(folder / GRID_FILE, grid(pixels, distilled.per_class))
    write_text(folder / CARD_FILE, card(distilled, layout))


def _layout(distilled: DistilledDataset) -> Layout:
    return Layout(
        table_data(distilled, TABLE_FILE),
        card_text.PARQUET_USE.format(
            example=examples.parquet(distilled, card_text.HERE), clipping=clipping_of(distilled)
        ),
        [
            (TABLE_FILE, columns_held(distilled)),
            ("preprocessing.npz", f"the transform between pixels and model space ({distilled.preprocessing.kind})"),
        ],
    )

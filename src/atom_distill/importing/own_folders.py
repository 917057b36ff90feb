"""Reading our own exports that are folders of tables: "parquet" and "hf"."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import holds_run
from atom_distill.base.errors import DataError
from atom_distill.importing.array_file import read_array_file
from atom_distill.importing.extras import transform_in, with_rate
from atom_distill.importing.published_set import PublishedSet

_RUN = "run"
_TRANSFORM = "preprocessing.npz"


def holds_tables(path: Path) -> bool:
    """Return True for a parquet file, or a folder with such files, at the top or in data/ as on the hub."""
    return bool(_tables(path))


def read_tables(path: Path, image_shape: tuple[int, int, int]) -> PublishedSet:
    """Return the set of a "parquet" or "hf" export: its tensors in model space, labels, transform and learning rate.

    Args:
        path: the folder, or its parquet file.
        image_shape: (C, H, W), since the table holds flat tensors.

    Raises:
        DataError: a table is damaged, or lacks the tensors; or what is beside it is no transform or learning rate.
        ArtifactError: the run of an "hf" export is damaged.
    """
    tables = _tables(path)
    if holds_run(path / _RUN):
        return _read_run(path / _RUN)
    columns = [_read_columns(table, image_shape) for table in tables]
    transform = tables[0].with_name(_TRANSFORM)
    beside = read_array_file(transform) if transform.is_file() else None
    soft = [each["soft_label"] for each in columns if "soft_label" in each]
    published = PublishedSet(
        images=torch.cat([each["model_space"] for each in columns]),
        labels=torch.cat([each["label"] for each in columns]),
        form="a parquet table of our own export",
        files=tuple(tables) if beside is None else (*tables, transform),
        soft_labels=torch.cat(soft) if soft else None,
        class_names=columns[0]["names"],
        preprocessing=None if beside is None else transform_in(transform, beside),
    )
    return with_rate(published, transform, beside["lr"]) if beside and "lr" in beside else published


def _tables(path: Path) -> list[Path]:
    if path.suffix == ".parquet":
        return [path]
    return sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))


def _read_run(folder: Path) -> PublishedSet:
    tiny = DistilledDataset.load(folder)
    rate = tiny.settings.get("network_lr")
    return PublishedSet(
        images=tiny.images,
        labels=tiny.labels,
        form="a folder of our own export for the Hugging Face hub",
        files=(folder / "distilled.safetensors", folder / "preprocessing.safetensors"),
        network_lr=None if rate is None else float(rate),
        soft_labels=tiny.soft_labels,
        class_names=tiny.class_names,
        preprocessing=tiny.preprocessing,
    )


def _read_columns(path: Path, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return images [N, C, H, W], labels and, if there are any, soft labels of a table, and the names of classes."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    from datasets import ClassLabel, Features

    try:
        table = pq.read_table(path)
        found = {name: table[name] for name in ("model_space", "label", "soft_label") if name in table.column_names}
        label = Features.from_arrow_schema(table.schema).get("label")
        if "model_space" in found and "label" in found:
            columns = {name: torch.tensor(np.stack(column.to_numpy())) for name, column in found.items()}
            images = columns["model_space"].float().view(len(table), *image_shape)
            named = tuple(label.names) if isinstance(label, ClassLabel) else None
            soft = {"soft_label": columns["soft_label"].float()} if "soft_label" in columns else {}
            return {"model_space": images, "label": columns["label"], "names": named, **soft}
    except Exception as error:  # pyarrow raises many types for a damaged file
        wanted = f"tensors of {prod(image_shape)} values ({'x'.join(map(str, image_shape))}) and labels"
        raise DataError(
            f"{path} cannot be read as a table with {wanted} ({type(error).__name__}); is `dataset` the one that was "
            "distilled?"
        ) from None
    raise DataError(
        f"{path} lacks the columns `model_space` and `label` of our own exports; save images and labels as .npz or .pt"
    )

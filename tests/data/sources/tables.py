"""Tables of images of one color, as parquet files and as sets of the `datasets` library."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(red: int, size: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def write(path: Path, reds: list[int], labels: list, *, struct: bool = True, label: str = "label") -> Path:
    cells = [{"bytes": png(red), "path": f"{red}.png"} if struct else png(red) for red in reds]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": cells, label: labels, "width": pa.array([0.5] * len(reds))}), path)
    return path


def reds(split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def hf_set(values: list[int], labels: list[int], names: tuple[str, ...] | None = ("cat", "dog")) -> datasets.Dataset:
    """Return images of these reds, with labels that declare class names unless `names` is None."""
    kind = datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64")
    features = datasets.Features({"img": datasets.Image(), "label": kind})
    images = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in values]
    return datasets.Dataset.from_dict({"img": images, "label": labels}, features=features)


def save(path: Path, **splits: datasets.Dataset) -> Path:
    datasets.DatasetDict(splits).save_to_disk(path)
    return path

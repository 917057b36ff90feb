"""The intact inputs that are damaged: small sets of images in every form that the commands read, and a finished run."""

from __future__ import annotations

import io
import pickle
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reliability.children import Place, atom, run

QUICK = ["--width", "8", "--compile", "off", "--device", "cpu"]
CLASSES = ("cat", "dog")
_SPLITS = {"train": 3, "test": 2}
_SIZE = 16


def picture(seed: int, mode: str = "RGB", size: int = _SIZE) -> Image.Image:
    """Return a picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    return image.convert("L").convert(mode) if mode in ("I", "I;16", "F") else image.convert(mode)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return the content of an image file."""
    content = io.BytesIO()
    image.save(content, format=form, **options)
    return content.getvalue()


def written_formats() -> list[tuple[str, str, str]]:
    """Return (format, mode, file name ending) of all that Pillow writes here and reads again."""
    Image.init()
    endings = {form: ending for ending, form in reversed(Image.registered_extensions().items())}
    found = []
    for form in sorted(set(Image.SAVE) & set(Image.OPEN) & set(endings)):
        for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "I;16", "I", "F", "CMYK", "YCbCr"):
            try:
                Image.open(io.BytesIO(encoded(picture(0, mode), form))).load()
            except Exception:  # this format has no such mode
                continue
            found.append((form, mode, endings[form]))
    return found


def write_folders(folder: Path, *, size: int = _SIZE, counts: Iterable[tuple[str, int]] = _SPLITS.items()) -> None:
    """Write class folders of PNGs."""
    for split, count in counts:
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                seed = 1000 * label + index + (500 if split == "test" else 0)
                picture(seed, size=size).save(folder / split / name / f"{index}.png")


def write_zip(path: Path, folder: Path) -> None:
    """Write the files of a folder as a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))


def cifar_members(draw: random.Random, *, binary: bool) -> dict[str, bytes]:
    """Return the files of a CIFAR-10 with ten images in each, by their names in the archive."""
    members = {}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        data = np.frombuffer(draw.randbytes(10 * 3072), np.uint8).reshape(10, 3072)
        if binary:
            rows = np.concatenate([np.arange(10, dtype=np.uint8)[:, None], data], axis=1)
            members[f"cifar-10-batches-bin/{name}.bin"] = rows.tobytes()
        else:
            batch = {b"data": data.copy(), b"labels": list(range(10)), b"batch_label": b"test"}
            members[f"cifar-10-batches-py/{name}"] = pickle.dumps(batch, protocol=2)
    return members


def tiny_imagenet_members() -> dict[str, bytes]:
    """Return the files of a TinyImageNet of two classes, by their names in the archive."""
    members = {"words.txt": b"n01\tcat\nn02\tdog\n", "val/val_annotations.txt": b""}
    for index in range(4):
        wnid = f"n0{1 + index % 2}"
        members[f"train/{wnid}/images/{wnid}_{index}.JPEG"] = encoded(picture(index, size=64), "JPEG")
        members[f"val/images/val_{index}.JPEG"] = encoded(picture(50 + index, size=64), "JPEG")
        members["val/val_annotations.txt"] += f"val_{index}.JPEG\t{wnid}\t0\t0\t1\t1\n".encode()
    return {f"tiny-imagenet-200/{name}": content for name, content in members.items()}


def tar_gz(members: dict[str, bytes], damage: Any = None) -> bytes:
    """Return a packed tar file; `damage` is done to it before it is compressed."""
    import gzip

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, member in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    plain = content.getvalue()
    return gzip.compress(damage(plain) if damage else plain, compresslevel=1)


def parquet(rows: list[tuple[bytes | None, Any]], features: str | None = None) -> bytes:
    """Return a parquet file of encoded images and labels, with the features of the `datasets` library."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    images = [{"bytes": content, "path": None} for content, _ in rows]
    table = pa.table({"image": images, "label": [label for _, label in rows]})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": features})
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def table_rows(split: str) -> list[tuple[bytes | None, Any]]:
    """Return the rows of a table of one split."""
    start = 0 if split == "train" else 500
    return [(encoded(picture(start + index), "PNG"), index % 2) for index in range(6)]


FEATURES: dict[str, Any] = {
    "info": {"features": {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}}
}


def write_saved_set(folder: Path) -> None:
    """Write a set as the `datasets` library saves it."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features
    from datasets import Image as ImageFeature

    kinds = Features({"image": ImageFeature(), "label": ClassLabel(names=list(CLASSES))})
    splits = {}
    for split in _SPLITS:
        rows = table_rows(split)
        columns = {"image": [{"bytes": content, "path": None} for content, _ in rows], "label": [y for _, y in rows]}
        splits[split] = Dataset.from_dict(columns, features=kinds)
    DatasetDict(splits).save_to_disk(str(folder))


def write_samples(folder: Path) -> None:
    """Write all samples that take long: `pets`, `saved`, `run` (finished, scored, of `pets`), and the cache of it.

    Raises:
        RuntimeError: a command failed.
    """
    place = Place(folder / "making")
    write_folders(folder / "pets")
    write_saved_set(folder / "saved")
    made = folder / "run"
    settings = ["--ipc", "1", "--steps", "4", "--batch-real", "2", "--eval-every", "2", "--eval-epochs", "1", *QUICK]
    lines = [["distill", str(folder / "pets"), *settings, "--checkpoint-every", "2", "--out", "run"]]
    lines += [["evaluate", "run", "--repeats", "1", "--epochs", "1", *QUICK]]
    outcome = run(atom(*lines), place, limit_s=300)
    if outcome.code:
        raise RuntimeError(f"the sample run cannot be made: {outcome.err}")
    shutil.copytree(place.here / "run", made)
    shutil.copytree(place.cache, folder / "cache")

"""Damaged data sets: image files, archives, tables, saved sets, and the cache of decoded ones."""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from reliability import samples
from reliability.children import Place
from reliability.mutations import STRANGE_VALUES, damage_bytes, damage_text, damage_value

Lines = list[list[str]]


@cache
def _formats() -> list[tuple[str, str, str]]:
    return samples.written_formats()


def images(intact: Path, place: Place, draw: random.Random) -> Lines:
    """Damage one image file of class folders; sometimes of several sizes, to be cropped or skipped."""
    data = Path(shutil.copytree(intact / "pets", place.given / "pets"))
    form, mode, ending = draw.choice(_formats())
    content = samples.encoded(samples.picture(1, mode, draw.choice((16, 16, 1, 33))), form)
    name = "1.png" if draw.random() < 0.5 else f"1{ending}"
    target = data / draw.choice(("train", "test")) / "cat" / name
    (target.with_suffix(".png")).unlink(missing_ok=True)
    target.write_bytes(damage_bytes(content, draw))
    more = draw.choice(([], ["--image-size", "8"], ["--skip-unreadable"], ["--image-size", "8", "--skip-unreadable"]))
    return [["data", str(data), "--json", *more]]


def archives(_: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a CIFAR-10: its archive, the tar in it, or one of its files; packed or not."""
    binary = draw.random() < 0.3
    members, level = samples.cifar_members(draw, binary=binary), draw.randrange(4)
    if level >= 2:
        name = draw.choice(sorted(members))
        members[name] = damage_bytes(members[name], draw)
    if level == 3:
        for name, member in members.items():
            path = place.given / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(member)
    else:
        packed = samples.tar_gz(members, partial(damage_bytes, draw=draw) if level == 1 else None)
        name = f"cifar-10-{'binary' if binary else 'python'}.tar.gz"
        (place.given / name).write_bytes(damage_bytes(packed, draw) if level == 0 else packed)
    return [["data", "cifar10", "--data-dir", str(place.given), "--json"]]


def tiny_imagenet(_: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a TinyImageNet: its zip file, or a file in it, packed in a way that Python knows."""
    members, path = samples.tiny_imagenet_members(), place.given / "tiny-imagenet-200.zip"
    inside = draw.random() < 0.5
    if inside:
        name = draw.choice(sorted(members))
        members[name] = damage_bytes(members[name], draw)
    packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    if not inside:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
    more = draw.choice(([], ["--skip-unreadable"]))
    return [["data", "tiny-imagenet", "--data-dir", str(place.given), "--json", *more]]


def zips(intact: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a zip file of class folders, or a file in it."""
    path = place.given / "pets.zip"
    if draw.random() < 0.5:
        samples.write_zip(path, intact / "pets")
        path.write_bytes(damage_bytes(path.read_bytes(), draw))
        return [["data", str(path), "--json"]]
    data = Path(shutil.copytree(intact / "pets", place.folder / "unpacked" / "pets"))
    for _ in range(draw.choice((1, 3))):
        target = draw.choice(sorted(data.rglob("*.png")))
        target.write_bytes(damage_bytes(target.read_bytes(), draw))
    samples.write_zip(path, data)
    if draw.random() < 0.3:  # names that lead out of any folder
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(draw.choice(("../../out.png", "/tmp/out.png", "pets/train/../../../out.png")), b"x")
    return [["data", str(path), "--json"]]


def tables(_: Path, place: Place, draw: random.Random) -> Lines:
    """Damage parquet files: their bytes, an image or label in them, or what the `datasets` library wrote beside."""
    for split in ("train", "test"):
        rows, features, level = samples.table_rows(split), json.dumps(samples.FEATURES), draw.randrange(5)
        if level == 0:
            content, label = rows[2]
            rows[2] = (damage_bytes(content or b"", draw), label)
        elif level == 1:
            rows = [(content, draw.choice((None, label, -1, 7, 2**40))) for content, label in rows]
        elif level == 2:
            features = json.dumps(damage_value(samples.FEATURES, draw))
        packed = samples.parquet(rows, draw.choice((features, features, None)))
        (place.given / f"{split}.parquet").write_bytes(damage_bytes(packed, draw) if level == 3 else packed)
    return [["data", str(place.given), "--json"]]


def npz_files(_: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a file of arrays: its bytes, the header of an array in it, or an array's type, shape or values."""
    arrays: dict[str, Any] = {}
    for split, seed in (("train", 0), ("test", 50)):
        arrays[f"{split}_images"] = np.stack([np.asarray(samples.picture(seed + index)) for index in range(6)])
        arrays[f"{split}_labels"] = np.arange(6) % 2
    name, action = draw.choice(sorted(arrays)), draw.randrange(4)
    if action == 0:
        kind = draw.choice(("float64", "int8", "bool", "U9", "complex64", "M8[s]"))
        arrays[name] = arrays[name].reshape(draw.choice(((-1,), (6, -1), (1, 6, -1)))).astype("int64").astype(kind)
    elif action == 1:
        arrays[name] = draw.choice((arrays[name][:0], arrays[name][:3], arrays[name] * 0 - 1, np.zeros(())))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for key, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            damaged = action == 2 and key == name
            archive.writestr(f"{key}.npy", damage_bytes(content.getvalue(), draw) if damaged else content.getvalue())
    whole = packed.getvalue()
    (place.given / "set.npz").write_bytes(damage_bytes(whole, draw) if action == 3 else whole)
    return [["data", str(place.given / "set.npz"), "--json"]]


def saved_sets(intact: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a file of a set that the `datasets` library saved."""
    data = Path(shutil.copytree(intact / "saved", place.given / "saved"))
    damage_file(draw.choice(sorted(path for path in data.rglob("*") if path.is_file())), draw)
    return [["data", str(data), "--json"]]


def caches(intact: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a file of a decoded set in the cache."""
    shutil.copytree(intact / "cache", place.cache, dirs_exist_ok=True)
    files = sorted(path for path in place.cache.rglob("*") if path.suffix in (".json", ".npy"))
    target = draw.choice(files)
    damage_file(target, draw)
    if draw.random() < 0.3:
        target.with_name("verified.json").unlink(missing_ok=True)
    more = draw.choice(([], [], ["--refresh"]))
    return [["data", str(intact / "pets"), "--json", *more]]


def damage_file(path: Path, draw: random.Random) -> None:
    """Damage a file: its bytes, or a value where it is JSON; sometimes remove it, or put a folder in its place."""
    action = draw.randrange(20)
    if action == 0:
        path.unlink()
    elif action == 1:
        path.unlink()
        path.mkdir()
    elif path.suffix == ".json" and action < 14:
        path.write_text(damaged_json(path.read_text(), draw), errors="surrogateescape")
    else:
        path.write_bytes(damage_bytes(path.read_bytes(), draw))


def damaged_json(text: str, draw: random.Random) -> str:
    """Return a JSON text with a damaged value, with damaged bytes, or of another kind altogether."""
    action = draw.randrange(10)
    if action == 0:
        return draw.choice(("", "[" * 100_000, '{"a":' * 50_000, "NaN", "null", "\ufeff{}", "{}", "[]"))
    if action == 1:
        return damage_text(text, draw)
    value: Any = json.loads(text)
    return json.dumps(draw.choice(STRANGE_VALUES) if action == 2 else damage_value(value, draw))

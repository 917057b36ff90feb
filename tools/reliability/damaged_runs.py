"""Damaged runs and published sets: every file of a run folder, and what `atom import` reads."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reliability.children import Place
from reliability.damaged_data import Lines, damage_file, damaged_json
from reliability.mutations import STRANGE_VALUES, damage_bytes, damage_text, damage_value
from reliability.samples import QUICK

_EVALUATION = ["--repeats", "1", "--epochs", "1", *QUICK]


def run_folders(intact: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a file of a finished run, then read it as one of the commands does."""
    folder = Path(shutil.copytree(intact / "run", place.here / "run"))
    shutil.copytree(intact / "cache", place.cache, dirs_exist_ok=True)
    target = draw.choice(sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".png"))
    if target.suffix == ".safetensors" and draw.random() < 0.7:
        target.write_bytes(damaged_safetensors(target, draw))
    elif target.suffix == ".yaml" and draw.random() < 0.8:
        target.write_text(_damaged_yaml(target.read_text(), draw), errors="surrogateescape")
    elif target.suffix == ".jsonl" and draw.random() < 0.8:
        lines = target.read_text().splitlines()
        at = draw.randrange(len(lines))
        lines[at] = damaged_json(lines[at], draw)
        target.write_text("\n".join(lines), errors="surrogateescape")
    else:
        damage_file(target, draw)
    return [_reader(str(intact / "pets"), draw)]


def _reader(data: str, draw: random.Random) -> list[str]:
    """Return a command that reads the run; a report takes as long as ten others."""
    if draw.random() < 0.05:
        return ["report", "run", "--json"]
    return draw.choice(
        [
            ["evaluate", "run", *_EVALUATION],
            ["evaluate", "run", "--which", "best", *_EVALUATION],
            ["evaluate", "run", "--ddranking", "--whole-accuracy", "50", *_EVALUATION],
            ["distill", data, "--resume", "--out", "run"],
            ["distill", data, "--resume", "--steps", "5", "--out", "run"],
            ["distill", data, "--config", "run/config.yaml", "--steps", "1", "--out", "again", *QUICK],
            ["search", "run", "--sample", "1", "--epochs", "1", "--dry-run"],
            *(["export", "run", "--to", form] for form in ("pt", "npz", "parquet", "hf", "imagefolder")),
            ["export", "run", "--to", "npz", "--which", "best"],
        ]
    )


def _damaged_yaml(text: str, draw: random.Random) -> str:
    import yaml

    action = draw.randrange(10)
    if action == 0:
        bomb = "".join(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}, *x{n - 1}]\n" for n in range(1, 25))
        return draw.choice(("", "[" * 20_000, "- a", "&a [*a]", f"x0: &x0 [1, 2]\n{bomb}", "!!python/object:os.x {}"))
    if action <= 3:
        return damage_text(text, draw)
    return yaml.safe_dump(damage_value(yaml.safe_load(text), draw), sort_keys=False)


def damaged_safetensors(path: Path, draw: random.Random) -> bytes:
    """Return a damaged file: its header as JSON, the facts that it holds, or its tensors with a checksum that fits."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    action = draw.randrange(4)
    if action == 0:
        return _packed(damage_value(header, draw), content[8 + length :])
    if action == 1:
        return struct.pack("<Q", draw.choice((0, 1, length - 1, length + 1, 2**31, 2**40, 2**63))) + content[8:]
    metadata = header.get("__metadata__", {})
    if action == 2 and metadata:
        name = draw.choice(sorted(metadata))
        metadata[name] = damaged_json(metadata[name], draw)
        return _packed(header, content[8 + length :])
    return _other_tensors(path, metadata, draw)


def _packed(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _other_tensors(path: Path, metadata: dict[str, str], draw: random.Random) -> bytes:
    """Return a whole file of damaged tensors, whose checksum is right: by a mistake of another program."""
    from safetensors.torch import load_file, save

    from atom_distill.base.tensors import checksum

    tensors = load_file(path)
    name = draw.choice(sorted(tensors))
    changed = damaged_tensor(tensors.pop(name), draw)
    if changed is not None:
        tensors[draw.choice((name, name, name, "extra"))] = changed.contiguous()
    if "atom-distill" in metadata:
        facts = json.loads(metadata["atom-distill"])
        facts["crc32"] = checksum(tensors)
        metadata["atom-distill"] = json.dumps(facts)
    return save(tensors, metadata)


def damaged_tensor(tensor: Tensor, draw: random.Random) -> Tensor | None:
    """Return a tensor of another shape, type or value; None for none."""
    kind = draw.choice((torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool))
    shape = draw.choice(((), (0,), (1, 0, 3), (2, 2)))
    length = draw.randrange(len(tensor) + 1) if tensor.ndim else 0
    return draw.choice(
        (
            lambda: None,
            lambda: tensor.to(kind),
            lambda: tensor.reshape(-1),
            lambda: tensor[:length].clone() if tensor.ndim else tensor.reshape(1),
            lambda: tensor.unsqueeze(0),
            lambda: tensor.unsqueeze(-1),
            lambda: torch.zeros(shape, dtype=tensor.dtype),
            lambda: _strange(tensor, draw),
        )
    )()


def _strange(tensor: Tensor, draw: random.Random) -> Tensor:
    """Return a tensor half of whose values are out of any range."""
    changed = tensor.clone()
    if changed.dtype in (torch.bool, torch.uint8):
        value: float = 1
    else:
        value = draw.choice((float("nan"), 1e38) if changed.dtype.is_floating_point else (-1, 2**31 - 1))
    changed.view(-1)[: 1 + changed.numel() // 2] = value
    return changed


def published_sets(_: Path, place: Place, draw: random.Random) -> Lines:
    """Damage a file that `atom import` reads: its bytes, the pickle in it, or the values that it holds."""
    images = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10)
    parts: list[Any] = [images, labels]
    action = draw.randrange(4)
    if action == 0:
        at = draw.randrange(2)
        parts[at] = damaged_tensor(parts[at], draw)
    elif action == 1:
        parts[draw.randrange(2)] = draw.choice([*STRANGE_VALUES, images.tolist(), labels.tolist()])
    layout = draw.choice(("experiments", "pair", "names", "files", "safetensors"))
    target = _write_published(place.given, parts, layout)
    if action >= 2:
        damage = _damage_pickle if action == 3 and target.suffix == ".pt" else damage_bytes
        target.write_bytes(damage(target.read_bytes(), draw))
    space = draw.choice(("zca", "normalize", "legacy-normalize"))
    source = draw.choice((target, place.given))
    return [["import", str(source), "--as", "digits", "--preprocess", space, "--out", "run"]]


def _write_published(folder: Path, parts: list[Any], layout: str) -> Path:
    images, labels = parts
    if layout == "safetensors":
        from safetensors.torch import save_file

        tensors = {"images": images, "labels": labels}
        found = {name: part.contiguous() for name, part in tensors.items() if isinstance(part, Tensor)}
        save_file(found, folder / "set.safetensors")
        return folder / "set.safetensors"
    if layout == "files":
        torch.save(labels, folder / "labels.pt")
        torch.save(images, folder / "images.pt")
        return folder / "images.pt"
    by_name = {"images": images, "labels": labels, "lr": 0.01}
    held = {"experiments": {"data": [parts], "accs_all_exps": {}}, "pair": tuple(parts), "names": by_name}[layout]
    torch.save(held, folder / "set.pt")
    return folder / "set.pt"


def _damage_pickle(content: bytes, draw: random.Random) -> bytes:
    """Damage the pickle in a file of torch, and pack it with the checksum that it then needs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, damage_bytes(member, draw) if name.endswith("data.pkl") else member)
    return packed.getvalue()

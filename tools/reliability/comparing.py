"""Whether two folders hold the same results, whenever and however often they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

_OF_THE_MOMENT = ("config.yaml", "search.json", "search.md", "trials.csv", ".html")
"""Ends of the names of files that say when, where and how fast: that they are there is all that is compared."""

_CHECKPOINT = "checkpoint-"
_MEASURED = ("seconds", "distill_seconds", "evaluate_seconds", "peak_mib", "started")


def contents(folder: Path) -> dict[str, str]:
    """Return digests of the files in a folder by name: of tensors, of scores without their seconds, or of bytes.

    Curves for TensorBoard are left out, and checkpoints but the newest: an older one may stay behind.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.parent.name != "tensorboard"]
    newest = {path.parent: path for path in files if path.name.startswith(_CHECKPOINT)}
    kept = [path for path in files if not path.name.startswith(_CHECKPOINT) or newest[path.parent] == path]
    return {path.relative_to(folder).as_posix(): _digest(path) for path in kept}


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names whose digests differ, or that one of both lacks."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _digest(path: Path) -> str:
    if path.name.endswith(_OF_THE_MOMENT):
        return "there"
    if path.name == "scores.json":
        content = json.dumps([{**score, "seconds": 0} for score in json.loads(path.read_text())]).encode()
    elif path.suffix == ".safetensors":
        content = _tensors(path)
    elif path.suffix == ".json":
        content = json.dumps(_timeless(json.loads(path.read_text()))).encode()
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _tensors(path: Path) -> bytes:
    from safetensors.torch import load_file

    parts = [(name, str(tensor.dtype), tensor) for name, tensor in sorted(load_file(path).items())]
    return b"".join(f"{name} {kind}".encode() + tensor.flatten().numpy().tobytes() for name, kind, tensor in parts)


def _timeless(value: object) -> object:
    """Return a value without what is measured: time and memory."""
    if isinstance(value, dict):
        return {key: _timeless(held) for key, held in value.items() if key not in _MEASURED}
    return [_timeless(held) for held in value] if isinstance(value, list) else value

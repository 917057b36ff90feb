"""Rounded values as tensors of a file, packed, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.packing import as_table, pack, unpack
from atom_distill.ops.parameterization import Stored
from atom_distill.ops.parameterization.quantized import from_integers, integers

_PACKED, _STEP = "packed.", "step."
"""Prefixes of the names of tensors in a file."""
_CODING = "rans"
"""How the values are packed: files of an earlier version do not say so, and cannot be read."""


def packed_rows(stored: Stored, steps: Mapping[str, Tensor], row_labels: Tensor) -> tuple[dict[str, Tensor], Any]:
    """Return tensors of a file, and facts by name that are needed to unpack them.

    Args:
        stored: multiples of the steps, float32 [R, ...].
        steps: see `Quantized`.
        row_labels: int64 [R], ascending: the facts hold how many rows each class has.

    Returns:
        `packed.NAME`, uint8, and `step.NAME`, float16; the facts `packed`, shapes by name, `coding`, its name, and
        `rows_per_class`.
    """
    counts = integers(stored, steps)
    packed = {name: np.frombuffer(pack(as_table(count)), np.uint8).copy() for name, count in counts.items()}
    tensors = {_PACKED + name: torch.from_numpy(content) for name, content in packed.items()}
    tensors |= {_STEP + name: step.half() for name, step in steps.items()}
    shapes = {name: list(count.shape) for name, count in counts.items()}
    return tensors, {"packed": shapes, "coding": _CODING, "rows_per_class": torch.bincount(row_labels).tolist()}


def unpacked_rows(tensors: Stored, facts: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what `packed_rows` was given: the stored values with `labels`, and the steps.

    Raises:
        KeyError, TypeError, ValueError: the tensors and the facts do not belong together.
    """
    if facts.get("coding") != _CODING:
        raise ValueError("its values were packed by another version: distill it again")
    rows = torch.tensor(facts["rows_per_class"], dtype=torch.int64)
    steps, counts = {}, {}
    for name, shape in facts["packed"].items():
        if shape[0] != int(rows.sum()):
            raise ValueError(f"it has {int(rows.sum())} rows, and {name} {shape[0]}")
        steps[name] = tensors[_STEP + name].float()
        like = as_table(torch.empty(shape, device="meta"))
        counts[name] = unpack(tensors[_PACKED + name].numpy().tobytes(), *like.shape).reshape(shape)
    labels = torch.repeat_interleave(torch.arange(len(rows)), rows)
    return {**from_integers(counts, steps), "labels": labels}, steps

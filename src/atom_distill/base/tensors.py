"""Tensors in safetensors files."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from atom_distill.base.files import atomic_path_alone

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_HASHED_AT_ONCE = 1000
"""Rows of a tensor, whose copy is kept small: images of a whole set may lie in any order of their dimensions."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors of any device to a safetensors file atomically.

    Raises:
        OSError: e.g. the disk is full or the folder is read-only.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # safetensors writes to a file of its own first, which would stay beside the run if the process was killed.
    with atomic_path_alone(path) as temporary:
        try:
            save_file(on_cpu, temporary, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:  # safetensors wraps the operating system's error
            raise OSError(f"{path} cannot be written: {error}") from None


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return the crc32 of the names and bytes of tensors, in the order of their names."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(as_bytes(tensors[name]).data, zlib.crc32(name.encode(), crc))
    return crc


def sha256(*tensors: Tensor) -> str:
    """Return the SHA-256 of the bytes of tensors, one after another, as hexadecimal digits."""
    found = hashlib.sha256()
    for tensor in tensors:
        for part in tensor.split(_HASHED_AT_ONCE) if tensor.ndim else (tensor,):
            found.update(as_bytes(part).data)
    return found.hexdigest()


def as_bytes(tensor: Tensor) -> NDArray[np.uint8]:
    """Return the values of a tensor as bytes [size], in the order of its dimensions; a copy only where it must be."""
    import torch

    flat = tensor.detach().cpu().reshape(-1)
    if flat.stride(0) != 1:  # also of a single element, which counts as contiguous
        flat = flat.clone(memory_format=torch.contiguous_format)
    return flat.view(torch.uint8).numpy()  # numpy has no bfloat16

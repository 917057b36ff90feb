"""Tensors in safetensors files."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from atom_distill.base.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors of any device to a safetensors file atomically.

    Raises:
        OSError: e.g. the disk is full or the folder is read-only.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with (
        atomic_path(path) as temporary,
        # safetensors writes to a file of its own first, which would stay beside the run if the process was killed.
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{temporary.stem}.", suffix=".part") as folder,
    ):
        try:
            written = Path(folder) / "tensors"
            save_file(on_cpu, written, metadata=None if metadata is None else dict(metadata))
            written.replace(temporary)
        except SafetensorError as error:  # safetensors wraps the operating system's error
            raise OSError(f"{path} cannot be written: {error}") from None


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return the crc32 of the names and bytes of tensors, in the order of their names."""
    import torch

    crc = 0
    for name in sorted(tensors):
        content = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)  # numpy has no bfloat16
        crc = zlib.crc32(content.numpy().data, zlib.crc32(name.encode(), crc))
    return crc

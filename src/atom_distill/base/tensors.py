"""Tensors in safetensors files."""

from __future__ import annotations

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
    with atomic_path(path) as temporary:
        try:
            save_file(on_cpu, temporary, metadata=None if metadata is None else dict(metadata))
        except SafetensorError as error:  # safetensors wraps the operating system's error
            raise OSError(f"{path} cannot be written: {error}") from None

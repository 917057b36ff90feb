"""Objects as bytes for a process on the same machine; large tensors go through files that it maps into its memory."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.base.tensors import as_bytes

_MAPPED_FROM = 1 << 20
"""Size of a tensor (bytes) from which it goes through a file, so that all processes share its memory."""


def pack(value: object, folder: Path) -> bytes:
    """Return an object as bytes, for `pickle.loads` in another process.

    Args:
        value: what can be pickled, with tensors on the CPU.
        folder: for the files of large tensors; it must exist until the other process has read the object.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    stream = io.BytesIO()
    _Packer(stream, folder).dump(value)
    return stream.getvalue()


class _Packer(pickle.Pickler):
    """Pickles tensors by their own values; torch would pickle the whole tensor that a view is of.

    Args:
        stream: to write to.
        folder: for the files of large tensors.
    """

    def __init__(self, stream: io.BytesIO, folder: Path) -> None:
        super().__init__(stream)
        self._folder = folder

    def reducer_override(self, value: Any) -> Any:
        """Return how a tensor is made again, or NotImplemented for other objects."""
        if type(value) is not Tensor or value.device.type != "cpu" or value.requires_grad:
            return NotImplemented
        content = as_bytes(value)
        read: Callable[..., Tensor] = _from_bytes
        source: bytes | str = b""
        if content.nbytes < _MAPPED_FROM:
            source = content.tobytes()
        else:
            path = self._folder / f"{len(list(self._folder.iterdir()))}.tensor"
            content.tofile(path)
            read, source = _from_file, str(path)
        return read, (source, value.dtype, tuple(value.shape))


def _from_bytes(content: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not content:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype).view(shape)


def _from_file(path: str, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Return a tensor in a private mapping: all processes share its pages until one writes to them."""
    return torch.from_file(path, shared=False, size=math.prod(shape), dtype=dtype).view(shape)

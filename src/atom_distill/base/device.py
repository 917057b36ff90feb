"""Devices: which one to use, and what it computes fast."""

from __future__ import annotations

import shutil

import torch

from atom_distill.base.errors import ConfigError

_KINDS = ("cpu", "cuda", "mps")
"""Others, such as meta, compute nothing, or were never tried."""


def pick_device(name: str) -> torch.device:
    """Return the named device, or for "auto" the best one available.

    Raises:
        ConfigError: the device is not available, or of a kind that is not supported.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type in _KINDS:
            torch.empty(1, device=device)
            return device
    except (RuntimeError, AssertionError, NotImplementedError):
        pass
    raise ConfigError(f"device {name!r} is not available here, or not supported; use auto, cpu, cuda or mps")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the device supports it natively, float32 if it would be emulated."""
    return torch.bfloat16 if _has_bfloat16(device) else torch.float32


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile works: on CPUs it needs a C++ compiler, on CUDA Triton, which comes with torch."""
    return device.type == "cuda" or (device.type == "cpu" and any(map(shutil.which, ("g++", "clang++"))))


def memory_format(device: torch.device, *, compiled: bool) -> torch.memory_format:
    """Return the memory layout for images and feature maps.

    Compiled code and GPUs are fastest with channels last; eager normalization on a CPU is three times slower with it.
    """
    return torch.channels_last if compiled or device.type == "cuda" else torch.contiguous_format


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False

"""How a step is computed on this machine: device, precision, compilation, chunk size."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import torch

from atom_distill.base.errors import ConfigError
from atom_distill.config.distill import DistillConfig

_CHUNK_PIXELS = 64 * 32 * 32
"""Pixels in one forward of the 128-channel encoder: its maps (16 MB in bfloat16) then stay in the cache."""
_COMPILE_FROM = 2e7
"""Pixels through the network in a whole run from which compiling pays: it takes about 30 s on two cores, and saves
about 1.7 microseconds a pixel there."""


@dataclass(frozen=True)
class Execution:
    """Decisions that change speed and rounding, not meaning.

    Attributes:
        device: where the step runs.
        real_dtype: precision of the no-gradient branch.
        compiled: whether torch.compile is tried.
        chunk: images in one forward.
    """

    device: torch.device
    real_dtype: torch.dtype
    compiled: bool
    chunk: int

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and maps.

        Compiled code and GPUs are fastest with the channels last; eager normalisation on a CPU is three times
        slower that way.
        """
        fast = self.compiled or self.device.type == "cuda"
        return torch.channels_last if fast else torch.contiguous_format


def plan_execution(config: DistillConfig, image_shape: tuple[int, int, int], num_classes: int) -> Execution:
    """Decide how to run, from the settings and the machine.

    Raises:
        ConfigError: the device is not there.
    """
    device = pick_device(config.device)
    _, height, width = image_shape
    images = num_classes * (config.batch_real + 3 * config.ipc)
    chunk = config.chunk or max(1, _CHUNK_PIXELS // (height * width))
    if config.norm == "batch":
        chunk = images  # BatchNorm's statistics are those of the whole batch, which must not be cut
    pays = config.steps * images * height * width >= _COMPILE_FROM
    compiled = config.compile == "on" or (config.compile == "auto" and pays and _can_compile(device))
    return Execution(device, _real_dtype(config, device), compiled, chunk)


def pick_device(name: str) -> torch.device:
    """Turn a device's name, or auto, into a device that exists.

    Raises:
        ConfigError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(f"device {name!r} is not available here; try --device auto, or cpu") from None
    return device


def _real_dtype(config: DistillConfig, device: torch.device) -> torch.dtype:
    if config.real_dtype == "float32":
        return torch.float32
    return torch.bfloat16 if config.real_dtype == "bfloat16" or _has_bfloat16(device) else torch.float32


def _has_bfloat16(device: torch.device) -> bool:
    """Say whether bfloat16 is computed, and not emulated, on the device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


def _can_compile(device: torch.device) -> bool:
    """Compiling for the CPU needs a C++ compiler, for CUDA it needs Triton, which comes with torch."""
    return device.type == "cuda" or (device.type == "cpu" and any(map(shutil.which, ("g++", "clang++"))))

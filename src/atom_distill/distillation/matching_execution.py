"""How a step is computed on this machine: device, precision, compilation, chunk size."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from atom_distill.base.device import can_compile, fast_dtype, memory_format, pick_device
from atom_distill.config.distill import DistillConfig, Precision

_CHUNK_PIXELS = {"cpu": 64 * 32 * 32, "cuda": 2048 * 32 * 32}
"""Pixels in one forward pass of the 128-channel encoder. On a CPU its maps (16 MB in bfloat16) then stay in the cache;
a GPU needs large kernels, and has the memory (2 GB)."""
CHUNKS_PREPARED = 10
"""Chunks of real images that are whitened and augmented at once: few enough to stay in the cache, enough for a large
matrix product."""
_COMPILE_FROM = 2e7
"""Pixels through the network in a whole run from which compiling pays: it takes about 30 s on two cores, and saves
about 1.7 microseconds a pixel there."""


@dataclass(frozen=True)
class MatchingExecution:
    """Decisions that change speed and rounding, not meaning.

    Attributes:
        device: where the step runs.
        real_dtype: precision of the no-gradient branch.
        synthetic_dtype: precision of the branch of synthetic images.
        compiled: whether torch.compile is tried.
        chunk: images in one forward pass; a network that normalizes over the batch gets the whole batch.
    """

    device: torch.device
    real_dtype: torch.dtype
    compiled: bool
    chunk: int
    synthetic_dtype: torch.dtype = torch.float32

    @property
    def low_input_gradients(self) -> bool:
        """Whether convolutions compute the gradient of synthetic images in bfloat16: on CPUs that are fast in it.

        Given the activations, the gradient is linear in them, and loses 0.3 %. In the forward pass it would lose 6 %,
        because ReLUs flip.
        """
        return self.real_dtype == torch.bfloat16 and self.device.type == "cpu"

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and maps."""
        return memory_format(self.device, compiled=self.compiled)


def plan_execution(
    config: DistillConfig, image_shape: tuple[int, int, int], num_classes: int, images_per_row: int = 1
) -> MatchingExecution:
    """Return how to run, from the settings and the machine.

    Args:
        config: with what is asked for.
        image_shape: (C, H, W).
        num_classes: K.
        images_per_row: decoded images of a stored row.

    Raises:
        ConfigError: the device is not available.
    """
    device = pick_device(config.device)
    _, height, width = image_shape
    passes = 6 if config.label_weight else 3  # forward and backward, in one network or two
    real, synthetic = config.classes_in_step(num_classes) * config.batch_real, config.images_in_step(num_classes)
    passed = real + passes * synthetic * images_per_row
    chunk = config.chunk or max(1, _CHUNK_PIXELS.get(device.type, _CHUNK_PIXELS["cpu"]) // (height * width))
    pays = config.steps * passed * height * width >= _COMPILE_FROM
    compiled = config.compile == "on" or (config.compile == "auto" and pays and can_compile(device))
    real_dtype, synthetic_dtype = (_dtype(asked, device) for asked in (config.real_dtype, config.synthetic_dtype))
    return MatchingExecution(device, real_dtype, compiled, chunk, synthetic_dtype)


def _dtype(asked: Precision, device: torch.device) -> torch.dtype:
    match asked:
        case "float32":
            return torch.float32
        case "bfloat16":
            return torch.bfloat16
        case "auto":
            return fast_dtype(device)

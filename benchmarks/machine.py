"""Matrix rate and memory bandwidth of the machine, and the lower bound that they set for a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from atom_distill.base.device import fast_dtype


@dataclass(frozen=True)
class Machine:
    """Measured rates.

    Attributes:
        low_flops: the higher rate of matrix products and convolutions in bfloat16 (or float32 where that is faster),
            operations per second.
        full_flops: the same in float32.
        bandwidth: bytes per second, read and written, of a copy larger than any cache.
    """

    low_flops: float
    full_flops: float
    bandwidth: float


def measure(device: torch.device) -> Machine:
    """Return the rates of a device; takes a second or two."""
    full = _highest_rate(torch.float32, device)
    low = max(full, _highest_rate(torch.bfloat16, device)) if fast_dtype(device) == torch.bfloat16 else full
    block = torch.empty(1 << (30 if device.type == "cuda" else 28), dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    seconds = best_seconds(lambda: other.copy_(block), device)
    return Machine(low, full, 2 * block.numel() / seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def best_seconds(function: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    """Return the seconds of the fastest of several calls, after one to warm up."""
    function()
    times = []
    for _ in range(rounds):
        synchronize(device)
        started = time.perf_counter()
        function()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)


def step_floor(machine: Machine, *, classes: int, batch_real: int, ipc: int, size: int, depth: int) -> float:
    """Return a lower bound of a step's seconds: of its convolutions at the matrix rate, or of its bytes, if longer.

    The real branch is one forward pass in low precision, the synthetic branch a forward and a backward pass to the
    images in float32. Bytes: every map is written once and read once, the images twice.
    """
    flops, maps = convolution_cost(size, depth)
    real, synthetic = classes * batch_real, classes * ipc
    compute = real * flops / machine.low_flops + synthetic * 2 * flops / machine.full_flops
    moved = real * (2 * 2 * maps + 2 * 3 * size * size) + synthetic * (4 * 4 * maps + 4 * 4 * 3 * size * size)
    return max(compute, moved / machine.bandwidth)


def evaluation_floor(machine: Machine, *, trained: int, tested: int, size: int, depth: int) -> float:
    """Return a lower bound of an evaluation's seconds, as `step_floor` does for a step.

    A training step is a forward pass and a backward pass to the weights, all in low precision.

    Args:
        machine: measured rates.
        trained: images that pass through training, of all networks.
        tested: images that pass through testing, of all networks.
        size: pixels of a side.
        depth: blocks of the ConvNet.
    """
    flops, maps = convolution_cost(size, depth)
    to_pixels, _ = convolution_cost(size, 1)  # the gradient of the first convolution's input is not needed
    compute = (trained * (3 * flops - to_pixels) + tested * flops) / machine.low_flops
    bytes_each = 2 if machine.low_flops > machine.full_flops else 4
    moved = bytes_each * (trained * 4 * maps + tested * 2 * maps)
    return max(compute, moved / machine.bandwidth)


def convolution_cost(size: int, depth: int, width: int = 128) -> tuple[float, float]:
    """Return the operations of the convolutions of one image, and the number of values in all its maps."""
    flops, values, channels = 0.0, 0.0, 3
    for _ in range(depth):
        flops += 2 * 9 * channels * width * size * size
        values += width * size * size
        channels, size = width, size // 2
    return flops, values


def _highest_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Return the operations per second of large matrix products, or of convolutions where these have a higher rate.

    On AMD processors, the library's matrix products reach half of what its convolutions do.
    """
    return max(
        _matrix_rate(8192 if device.type == "cuda" else 2048, dtype, device),
        _convolution_rate(2048 if device.type == "cuda" else 128, dtype, device),
    )


def _convolution_rate(images: int, dtype: torch.dtype, device: torch.device, width: int = 128, side: int = 16) -> float:
    """Return the rate of the second convolution of a ConvNet on 32x32 images."""
    maps, weights = (
        torch.randn(shape).to(device, dtype, memory_format=torch.channels_last)
        for shape in ((images, width, side, side), (width, width, 3, 3))
    )
    seconds = best_seconds(lambda: F.conv2d(maps, weights, padding=1), device)
    return images * 2 * 9 * width**2 * side**2 / seconds


def _matrix_rate(side: int, dtype: torch.dtype, device: torch.device) -> float:
    one = torch.randn(side, side, device=device).to(dtype)
    other = torch.randn(side, side, device=device).to(dtype)
    return 2 * side**3 / best_seconds(lambda: one @ other, device)

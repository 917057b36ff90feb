"""Values rounded to multiples of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.ops.parameterization.base import Parameterization, Stored

Steps = Mapping[str, Tensor]
"""Rounding steps by name of the stored tensor: float32 numbers that float16 holds exactly, of a shape that broadcasts
against a row."""
STEP_BYTES = 2
"""Size of a step in a file, as float16."""
_PREFIX = "step."
_LARGEST, _SMALLEST = 0x7BFF, 0x0400
"""Bits of the largest and the smallest normal float16: positive ones are in the order of their bits."""
_CORRECTIONS = 4
_MOST_NUMBERS = 10_000_000
"""Different integers in all columns, of which the entropy is computed."""


class Quantized(Parameterization):
    """Another parameterization whose values, in the units of a file, are rounded to multiples of steps.

    The gradient passes as if they were not rounded (straight-through, Bengio et al., arXiv 1308.3432).

    Args:
        inner: how values become images.
        steps: see `Steps`.
    """

    def __init__(self, inner: Parameterization, steps: Steps) -> None:
        super().__init__(inner.image_shape)
        self.inner, self.steps, self.images_per_row = inner, steps, inner.images_per_row

    def values(self, stored: Stored) -> Stored:
        """Return the rounded values."""
        return {name: _rounded(exact, self.steps[name]) for name, exact in self.inner.values(stored).items()}

    def images(self, values: Stored) -> Tensor:
        """See `Parameterization.images`."""
        return self.inner.images(values)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """See `Parameterization.encode`."""
        return self.inner.encode(images)

    def tensors(self) -> dict[str, Tensor]:
        """See `Parameterization.tensors`."""
        return {**self.inner.tensors(), **{_PREFIX + name: step for name, step in self.steps.items()}}

    def largest(self, values: Tensor) -> Tensor:
        """See `Parameterization.largest`."""
        return self.inner.largest(values)

    def integers(self, stored: Stored) -> dict[str, Tensor]:
        """Return the rounded values in units of their steps, int32, of the shapes of what is stored."""
        return integers(self.inner.values(stored), self.steps)


def integers(values: Stored, steps: Steps) -> dict[str, Tensor]:
    """Return values in units of steps, rounded to int32."""
    return {name: (exact / steps[name].to(exact)).round().to(torch.int32) for name, exact in values.items()}


def from_integers(counts: Stored, steps: Steps) -> dict[str, Tensor]:
    """Return the values that integers stand for, float32."""
    return {name: count.float() * steps[name] for name, count in counts.items()}


def split_steps(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the steps among what `Quantized.tensors` returned, by the name of the stored tensor, and the rest."""
    steps = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
    return steps, {name: tensor for name, tensor in tensors.items() if not name.startswith(_PREFIX)}


def steps_for_bits(inner: Parameterization, values: Stored, bits: int) -> dict[str, Tensor]:
    """Return the smallest steps with which all values fit into signed numbers of so many bits.

    Args:
        inner: its groups of values share a step.
        values: in the units of a file.
        bits: of a number, 2 to 16.
    """
    most = 2 ** (bits - 1) - 1
    return {name: _float16_from(inner.largest(tensor) / most) for name, tensor in values.items()}


def steps_for_bytes(values: Stored, packed_size: Callable[[Stored], int], limit: int) -> dict[str, Tensor]:
    """Return a step, one for all values, with which the packed values just keep a limit.

    Packing takes long, so the step is looked for by the entropy of the integers, corrected by what packing adds.

    Args:
        values: in the units of a file.
        packed_size: from integers by name to bytes.
        limit: bytes.

    Raises:
        ConfigError: the limit is less than what values take that are all rounded to zero.
    """

    def size(bits: int) -> int:
        return packed_size(integers(values, _one_step(values, bits)))

    if size(_LARGEST) > limit:
        raise ConfigError(f"`bytes` leaves {limit} bytes for the values of all classes, which is too few: give more")
    wanted = float(limit)
    for _ in range(_CORRECTIONS):
        bits = _step_of_entropy(values, wanted)
        wanted *= limit / size(bits)
    missed = 1
    while size(bits) > limit:
        bits, missed = min(bits + missed, _LARGEST), 2 * missed
    return _one_step(values, bits)


def _step_of_entropy(values: Stored, limit: float) -> int:
    """Return the smallest step, as the bits of a float16, with which the integers have so many bytes of entropy."""
    low, high = _SMALLEST, _LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        entropy = sum(map(_entropy_bytes, integers(values, _one_step(values, middle)).values()))
        low, high = (low, middle) if entropy <= limit else (middle, high)
    return high


def _one_step(values: Stored, bits: int) -> dict[str, Tensor]:
    return dict.fromkeys(values, torch.from_numpy(np.array(bits, dtype=np.uint16).view(np.float16)).float())


def _entropy_bytes(counts: Tensor) -> float:
    """Return the entropy of integers, int32 [R, ..., n], where each of the n columns is coded for itself, bytes."""
    table = counts.reshape(-1, counts.shape[-1])
    numbers = (table - table.amin(0)).long()
    width = numbers.amax(0) + 1
    if int(width.sum()) > _MOST_NUMBERS:  # steps far too small for a limit that anybody gives
        return math.inf
    times = torch.bincount((numbers + width.cumsum(0) - width).flatten()).double()
    times = times[times > 0]
    return float(table.numel() * math.log2(len(table)) - (times * times.log2()).sum()) / 8


def _rounded(values: Tensor, step: Tensor) -> Tensor:
    """Return values rounded to multiples of a step, whose gradient is that of the values."""
    step = step.to(values)
    # Zeros that carry the gradient: values + (rounded - values) would not be the rounded values to the last bit.
    return ((values / step).round() * step).detach() + (values - values.detach())


def _float16_from(numbers: Tensor) -> Tensor:
    """Return the smallest normal float16 that are not less than the numbers, as float32."""
    wide = numbers.detach().cpu().numpy().astype(np.float32)
    half = wide.astype(np.float16)
    half = np.where(half < wide, np.nextafter(half, np.float16(np.inf)), half)
    return torch.from_numpy(np.maximum(half, np.finfo(np.float16).tiny).astype(np.float32))

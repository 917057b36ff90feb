"""Values rounded to multiples of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from atom_distill.base.constants import Constant
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
_ONE, _OCTAVE = 0x3C00, 0x0400
"""Bits of the float16 1, and the difference of the bits of a number and of its double."""
_TRIES, _NEAR_ENOUGH = 12, 0.998
"""Steps that are tried within a factor of two, and the share of the limit from which one is good enough."""


class Quantized(Parameterization):
    """Another parameterization whose values, in the units of a file, are rounded to multiples of steps.

    The gradient passes as if they were not rounded (straight-through, Bengio et al., arXiv 1308.3432).

    Args:
        inner: how values become images.
        steps: see `Steps`.
        most: the largest multiple, to which larger values are clipped; None for any.
    """

    def __init__(self, inner: Parameterization, steps: Steps, most: int | None = None) -> None:
        super().__init__(inner.image_shape)
        self.inner, self.images_per_row, self.most = inner, inner.images_per_row, most
        self.round_to(steps)

    def round_to(self, steps: Steps) -> None:
        """Round to multiples of other steps from now on, wherever this object is in use."""
        self.steps = steps
        self._steps = {name: Constant(step) for name, step in steps.items()}

    def values(self, stored: Stored) -> Stored:
        """Return the rounded values."""
        exact = self.inner.values(stored)
        return {name: _rounded(values, self._steps[name].like(values), self.most) for name, values in exact.items()}

    def from_values(self, values: Stored) -> Stored:
        """See `Parameterization.from_values`."""
        return self.inner.from_values(values)

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
    most = largest_integer(bits)
    return {name: _float16_from(inner.largest(tensor) / most) for name, tensor in values.items()}


def within_bits(counts: Stored, bits: int) -> dict[str, Tensor]:
    """Return integers clipped to those that signed numbers of so many bits hold, without the most negative one."""
    most = largest_integer(bits)
    return {name: count.clamp(-most, most) for name, count in counts.items()}


def largest_integer(bits: int) -> int:
    """Return the largest signed number of so many bits."""
    return (1 << (bits - 1)) - 1


def steps_for_bytes(
    values: Stored, packed_size: Callable[[Stored], int], limit: int, near: Steps | None = None
) -> dict[str, Tensor]:
    """Return a step, one for all values, with which the packed values just keep a limit.

    Packing takes long, so the step is bracketed by powers of two, and then interpolated: the logarithm of the size is
    nearly linear in that of the step, which the bits of a float16 are nearly, too.

    Args:
        values: in the units of a file.
        packed_size: from integers by name to bytes.
        limit: bytes.
        near: where to begin, since similar values had these; None to begin at 1.

    Raises:
        ConfigError: the limit is less than what values take that are all rounded to zero.
    """

    @cache
    def size(bits: int) -> int:
        return packed_size(integers(values, _one_step(values, bits)))

    if size(_LARGEST) > limit:
        raise ConfigError(f"`bytes` leaves {limit} bytes for the values of all classes, which is too few: give more")
    first, stride = (_ONE, _OCTAVE) if near is None else (_bits_of(next(iter(near.values()))), _OCTAVE // 16)
    low, high = _bracket(lambda bits: size(bits) <= limit, first, stride)
    for _ in range(_TRIES):
        if high - low <= 1 or size(high) >= _NEAR_ENOUGH * limit:
            break
        share = math.log(size(low) / limit) / math.log(size(low) / size(high))
        middle = low + round((high - low) * min(max(share, 0.1), 0.9))
        middle = min(max(middle, low + 1), high - 1)
        low, high = (low, middle) if size(middle) <= limit else (middle, high)
    return _one_step(values, high)


def _bracket(fits: Callable[[int], bool], first: int, stride: int) -> tuple[int, int]:
    """Return two steps, as the bits of float16, at most a stride apart, of which the larger alone fits.

    Where even the smallest step fits, both are that one.
    """
    high = first
    while not fits(high):
        high = min(high + stride, _LARGEST)
    low = high
    while fits(low) and low > _SMALLEST:
        high, low = low, max(low - stride, _SMALLEST)
    return (low, low) if fits(low) else (low, high)


def _one_step(values: Stored, bits: int) -> dict[str, Tensor]:
    return dict.fromkeys(values, torch.from_numpy(np.array(bits, dtype=np.uint16).view(np.float16)).float())


def _bits_of(step: Tensor) -> int:
    """Return the bits of a step as float16, which holds it exactly."""
    return int(step.numpy().astype(np.float16).view(np.uint16))


def _rounded(values: Tensor, step: Tensor, most: int | None) -> Tensor:
    """Return values rounded to multiples of a step, at most `most` of them, whose gradient is that of the values."""
    counts = (values / step).round()
    counts = counts if most is None else counts.clamp(-most, most)
    # Zeros that carry the gradient: values + (rounded - values) would not be the rounded values to the last bit.
    return (counts * step).detach() + (values - values.detach())


def _float16_from(numbers: Tensor) -> Tensor:
    """Return the smallest normal float16 that are not less than the numbers, as float32."""
    wide = numbers.detach().cpu().numpy().astype(np.float32)
    half = wide.astype(np.float16)
    half = np.where(half < wide, np.nextafter(half, np.float16(np.inf)), half)
    return torch.from_numpy(np.maximum(half, np.finfo(np.float16).tiny).astype(np.float32))

"""Convolutions with a fast input gradient when they are frozen."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` with an input gradient of its own in compiled CPU code when it is frozen; without support for vmap.

    Attributes:
        gradient_dtype: precision in which compiled code computes the input gradient; None for the input's.
    """

    gradient_dtype: torch.dtype | None = None

    def forward(self, input: Tensor) -> Tensor:
        """Return the maps [B, O, H', W'] of an input [B, C, H, W]."""
        # In eager mode, the passes over memory that compiled code fuses would cost more than is gained.
        compiled = torch.compiler.is_compiling() and torch.is_grad_enabled() and input.device.type == "cpu"
        frozen = not any(parameter.requires_grad for parameter in self.parameters())
        if not (compiled and frozen and self._is_plain()):
            return super().forward(input)
        given = input, self.weight, self.bias, self.padding[0], self.gradient_dtype or input.dtype
        out: Tensor = _WithoutWeightGradient.apply(*given)  # type: ignore[no-untyped-call]
        return out

    def _is_plain(self) -> bool:
        """Return whether `input_gradient` handles this convolution."""
        side = self.kernel_size[0]
        square = self.kernel_size == (side, side) and self.padding in [(margin, margin) for margin in range(side)]
        return square and self.stride == self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"


class _WithoutWeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, padding: int, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.padding, ctx.dtype, ctx.input_dtype = padding, dtype, input.dtype
        return F.conv2d(input, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        found = input_gradient(gradient.to(ctx.dtype), weight.to(ctx.dtype), ctx.padding)
        return found.to(ctx.input_dtype), None, None, None, None


def compute_input_gradients_in(dtype: torch.dtype, network: nn.Module) -> None:
    """Set `Conv2d.gradient_dtype` of all convolutions of a network."""
    for module in network.modules():
        if isinstance(module, Conv2d):
            module.gradient_dtype = dtype


def input_gradient(gradient: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Return the input gradient of a convolution of stride 1, given the gradient with respect to its maps.

    It is a convolution by the same weights rotated by 180 degrees. For few channels, e.g. those of an image, that is
    slow (7.3 ms for 64 images of 32x32 on an AMD EPYC with AVX-512 bfloat16); then it is a matrix product, of which
    shifted parts are added up (2.5 ms).

    Args:
        gradient: with respect to the maps, [B, O, H', W'].
        weight: [O, C, k, k], of the same precision.
        padding: zeros on each side of the input, at most k - 1.

    Returns:
        [B, C, H, W], H = H' + k - 1 - 2 * padding; for few channels in float32 at least.
    """
    maps, channels, side, _ = weight.shape
    margin = side - 1 - padding
    if channels * side**2 > maps:
        return F.conv2d(gradient, weight.flip(2, 3).transpose(0, 1), padding=margin)
    # What each place of the maps adds to the inputs that it was computed from: [k, k, C, B, H', W'].
    parts = weight.permute(2, 3, 1, 0).flatten(0, 2) @ gradient.permute(0, 2, 3, 1).flatten(0, 2).T
    parts = F.pad(parts.view(side, side, channels, len(gradient), *gradient.shape[2:]), (margin,) * 4)
    height, width = (extent - side + 1 for extent in parts.shape[-2:])
    wide = torch.promote_types(gradient.dtype, torch.float32)
    found = torch.zeros((), device=gradient.device, dtype=wide)
    for row in range(side):
        for column in range(side):
            top, left = side - 1 - row, side - 1 - column
            found = found + parts[row, column, :, :, top : top + height, left : left + width].to(wide)
    return found.transpose(0, 1)

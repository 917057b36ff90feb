"""From uint8 pixels to model space and back: channel normalization and ZCA whitening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from atom_distill.base.constants import Constant
from atom_distill.base.errors import ArtifactError, ShapeError

_CHUNK = 4096
"""Images whitened at once; limits the float copy to about 50 MB at 32x32."""


class Preprocessing(Protocol):
    """The transform from pixels to model space, fitted once on the training images."""

    @property
    def kind(self) -> str:
        """The name in configs and files."""

    def apply(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return pixels [B, C, H, W] in model space, same shape and device.

        Args:
            pixels: a batch, 0 to 255: uint8, or float where values lie between.
            dtype: of the result; float32, or bfloat16, which is accurate to about 1 % and much faster on processors
                that support it.

        Raises:
            ShapeError: they are no tensor, have another number of channels or, for ZCA, another size; or they are
                floats in 0..1.
        """

    def invert(self, images: Tensor) -> Tensor:
        """Return images [B, C, H, W] in model space as intensities, nominally in [0, 1], not clamped."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors from which it can be rebuilt, for a safetensors file."""


@dataclass(frozen=True, eq=False)
class ChannelNormalization:
    """Subtraction of each channel's mean and division by its standard deviation over pixels.

    Attributes:
        mean: of intensities in [0, 1], float32, shape [C].
        std: likewise, over all pixels of all images; a constant channel has std 1.
        kind: "normalize", or "legacy-normalize" for the constants in the code of DC, DSA, DM and MTT.
    """

    mean: Tensor
    std: Tensor
    kind: str = "normalize"

    def apply(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `Preprocessing.apply`."""
        _require_pixels(pixels)
        mean, std = self._on(pixels)
        return pixels.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std).to(dtype)

    def invert(self, images: Tensor) -> Tensor:
        """See `Preprocessing.invert`."""
        mean, std = self._on(images)
        return images * std + mean

    def tensors(self) -> dict[str, Tensor]:
        """See `Preprocessing.tensors`."""
        return {"mean": self.mean, "std": self.std}

    def _on(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if images.shape[1] != len(self.mean):
            raise ShapeError(f"expected images with {len(self.mean)} channels, got {tuple(images.shape)}")
        mean, std = self._constants
        return mean.on(images.device).view(-1, 1, 1), std.on(images.device).view(-1, 1, 1)

    @cached_property
    def _constants(self) -> tuple[Constant, Constant]:
        return Constant(self.mean), Constant(self.std)


@dataclass(frozen=True, eq=False)
class ZCAWhitening:
    """Whitening of intensities in [0, 1]: (x - mean) @ transform, with a symmetric transform.

    Attributes:
        mean: float32, shape [D], D = C*H*W.
        transform: float32, symmetric, shape [D, D].

    Source: Kornia's `ZCAWhitening` (eps 0.1), which the paper's supplement names.
    """

    mean: Tensor
    transform: Tensor
    kind: str = "zca"

    @cached_property
    def inverse(self) -> Tensor:
        """The inverse of `transform`, computed in float64; shape [D, D], float32."""
        inverse: Tensor = torch.linalg.inv(self.transform.double())
        return inverse.float()

    def apply(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `Preprocessing.apply`."""
        _require_pixels(pixels)
        flat = self._flatten(pixels)
        center, weight, shift = self._as_product(pixels.device, dtype)
        out = torch.empty(flat.shape, device=pixels.device, dtype=dtype)
        for start in range(0, len(flat), _CHUNK):
            chunk = flat[start : start + _CHUNK].to(dtype, copy=True).sub_(center)
            torch.addmm(shift, chunk, weight, out=out[start : start + _CHUNK])
        return out.view(pixels.shape)

    def invert(self, images: Tensor) -> Tensor:
        """See `Preprocessing.invert`."""
        flat = self._flatten(images)
        return (flat @ self.inverse.to(images.device) + self.mean.to(images.device)).view(images.shape)

    def tensors(self) -> dict[str, Tensor]:
        """Return the mean and one triangle: the matrix is symmetric, and the inverse is computed from it.

        At 32x32x3 that is 19 MB instead of 75 for transform and inverse in full.
        """
        rows, columns = torch.triu_indices(*self.transform.shape)
        return {"mean": self.mean, "transform_upper": self.transform[rows, columns]}

    def _as_product(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return center, weight and shift, cached: pixels 0..255 are whitened as (pixels - center) @ weight + shift.

        The center is the mean rounded to integers: pixels - center are then integers below 256, which bfloat16
        represents exactly.
        """
        key = (device, dtype)
        if key not in self._products:
            center = (self.mean * 255).round()
            shift = (center.double() / 255 - self.mean.double()) @ self.transform.double()
            parts = (center, self.transform / 255, shift)
            self._products[key] = tuple(part.to(device, dtype) for part in parts)  # type: ignore[assignment]
        return self._products[key]

    @cached_property
    def _products(self) -> dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]]:
        return {}

    def _flatten(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        if flat.shape[1] != len(self.mean):
            raise ShapeError(f"the whitening was fitted on {len(self.mean)} values an image, got {tuple(images.shape)}")
        return flat


def _require_pixels(pixels: object) -> None:
    """Make sure that values are pixels, not the intensities that many libraries make of them."""
    if not isinstance(pixels, Tensor):
        kind = type(pixels).__name__
        raise ShapeError(f"pixels must be a torch tensor [B, C, H, W], uint8 from 0 to 255, not {kind}")
    if pixels.is_floating_point() and pixels.numel() and 0 < float(pixels.max()) <= 1:
        raise ShapeError("these pixels are floats in 0..1: give uint8 from 0 to 255, or multiply them by 255")


def preprocessing_from_tensors(kind: str, tensors: Mapping[str, Tensor]) -> Preprocessing:
    """Return the preprocessing whose tensors were stored.

    Args:
        kind: see `Preprocessing.kind`.
        tensors: as returned by `Preprocessing.tensors`.

    Raises:
        ArtifactError: the kind is unknown, or a tensor is missing or has the wrong shape.
    """
    try:
        if kind in ("normalize", "legacy-normalize"):
            if tensors["mean"].shape != tensors["std"].shape:
                raise ArtifactError("the stored normalization has means and deviations of different shapes")
            return ChannelNormalization(tensors["mean"], tensors["std"], kind)
        if kind == "zca":
            return ZCAWhitening(tensors["mean"], _symmetric(tensors["transform_upper"], len(tensors["mean"])))
    except KeyError as missing:
        raise ArtifactError(f"the stored {kind!r} preprocessing lacks the tensor {missing}") from None
    raise ArtifactError(f"the stored preprocessing is of the unknown kind {kind!r}")


def _symmetric(upper: Tensor, side: int) -> Tensor:
    if upper.numel() != side * (side + 1) // 2:
        raise ArtifactError(f"the stored whitening has {upper.numel()} values, not those of a {side}-row triangle")
    matrix = upper.new_zeros(side, side)
    rows, columns = torch.triu_indices(side, side)
    matrix[rows, columns] = upper
    matrix[columns, rows] = upper
    return matrix

"""From uint8 pixels to model space and exactly back: channel normalization and ZCA whitening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from atom_distill.base.errors import ArtifactError, ShapeError

_CHUNK = 4096
"""Images whitened at once: bounds the float copy to about 50 MB at 32x32."""


class Preprocessing(Protocol):
    """What stands between pixels and the network; fitted once on the training images."""

    @property
    def kind(self) -> str:
        """Its name in configs and files."""

    def apply(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Bring uint8 pixels [B, C, H, W] into model space, same shape, on the pixels' device.

        Args:
            pixels: of one batch.
            dtype: of the result; float32, or bfloat16, which is good to about 1 % of a value and much faster where the
                processor computes it.
        """

    def invert(self, images: Tensor) -> Tensor:
        """Bring model-space images [B, C, H, W] back to intensities, nominally in [0, 1], not clamped."""

    def tensors(self) -> dict[str, Tensor]:
        """Return all that is needed to rebuild it, for a safetensors file."""


@dataclass(frozen=True)
class ChannelNormalization:
    """Subtract each channel's mean and divide by its standard deviation over pixels.

    Attributes:
        mean: of intensities in [0, 1], float32, shape [C].
        std: likewise, over all pixels of all images; a constant channel has std 1.
        kind: "normalize", or "legacy-normalize" for constants of other people's code.
    """

    mean: Tensor
    std: Tensor
    kind: str = "normalize"

    def apply(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `Preprocessing.apply`."""
        mean, std = self._on(pixels)
        return pixels.float().div_(255).sub_(mean).div_(std).to(dtype)

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
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)


@dataclass(frozen=True)
class ZCAWhitening:
    """Whiten intensities in [0, 1]: (x - mean) @ transform, with a symmetric transform.

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
        """The matrix that undoes `transform`, found in float64; shape [D, D], float32."""
        inverse: Tensor = torch.linalg.inv(self.transform.double())
        return inverse.float()

    def apply(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """See `Preprocessing.apply`."""
        flat = self._flatten(pixels)
        center, weight, shift = self._as_product(pixels.device, dtype)
        out = torch.empty(flat.shape, device=pixels.device, dtype=dtype)
        for start in range(0, len(flat), _CHUNK):
            chunk = flat[start : start + _CHUNK].to(dtype).sub_(center)
            torch.addmm(shift, chunk, weight, out=out[start : start + _CHUNK])
        return out.view(pixels.shape)

    def invert(self, images: Tensor) -> Tensor:
        """See `Preprocessing.invert`."""
        flat = self._flatten(images)
        return (flat @ self.inverse.to(images.device) + self.mean.to(images.device)).view(images.shape)

    def tensors(self) -> dict[str, Tensor]:
        """Store one triangle: the matrix is symmetric, and the inverse follows from it.

        At 32x32x3 that is 19 MB where transform and inverse in full would be 75.
        """
        rows, columns = torch.triu_indices(*self.transform.shape)
        return {"mean": self.mean, "transform_upper": self.transform[rows, columns]}

    def _as_product(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Write the whitening of pixels 0..255 as (pixels - center) @ weight + shift, kept for the next batch.

        The center is the mean rounded to a whole pixel value: pixels less it are whole numbers below 256, which even
        bfloat16 holds exactly.
        """
        place = (device, dtype)
        if place not in self._products:
            center = (self.mean * 255).round()
            shift = (center.double() / 255 - self.mean.double()) @ self.transform.double()
            parts = (center, self.transform / 255, shift)
            self._products[place] = tuple(part.to(device, dtype) for part in parts)  # type: ignore[assignment]
        return self._products[place]

    @cached_property
    def _products(self) -> dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]]:
        return {}

    def _flatten(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        if flat.shape[1] != len(self.mean):
            raise ShapeError(f"the whitening was fitted on {len(self.mean)} values an image, got {tuple(images.shape)}")
        return flat


def preprocessing_from_tensors(kind: str, tensors: Mapping[str, Tensor]) -> Preprocessing:
    """Rebuild what `Preprocessing.tensors` gave.

    Raises:
        ArtifactError: the kind is not known or a tensor is missing.
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

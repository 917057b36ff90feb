"""Fitting the preprocessing between pixels and networks; the slow fit of ZCA is cached."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from atom_distill.base.cache_folder import cache_path, writable
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.progress import note
from atom_distill.base.registry import unknown_name
from atom_distill.base.tensors import write_tensors
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.statistics import channel_statistics, mean_and_covariance
from atom_distill.ops.preprocessing import (
    ChannelNormalization,
    Preprocessing,
    ZCAWhitening,
    preprocessing_from_tensors,
)

ZCA_EPS = 0.1
"""Added to the covariance's eigenvalues; the value of the MTT, DataDAM and ATOM papers."""
_LEGACY = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "tiny-imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and deviation in the code of DC, DSA, MTT and DATM: CIFAR-10's mean of per-image deviations, used for CIFAR-100,
too, and ImageNet's figures. DM's and DataDAM's are the same but for CIFAR-100, where they are those over pixels."""
_SLOW_VALUES = 2e7
"""Values (images x C x H x W) above which fitting takes seconds, so that it is announced and cached."""


def fit_preprocessing(kind: str, dataset: ImageDataset) -> Preprocessing:
    """Fit the preprocessing on the training images.

    Args:
        kind: "normalize" (channel mean and standard deviation), "zca", or "legacy-normalize" (the constants of
            published code, for the named sets that have them).
        dataset: its training images are used, without their labels.

    Raises:
        UnknownNameError: there is no such kind.
        ConfigError: there are no legacy constants for this set.
    """
    if kind == "normalize":
        return _fit_normalization(dataset)
    if kind == "zca":
        return _fit_zca(dataset)
    if kind == "legacy-normalize":
        return _legacy_normalization(dataset)
    raise unknown_name("preprocessing", kind, ["normalize", "zca", "legacy-normalize"])


def has_legacy_constants(dataset: ImageDataset) -> bool:
    """Return whether there are legacy constants for a set."""
    is_named = dataset.request.get("name_or_path") == dataset.name  # a folder is not a named set, whatever its name
    return is_named and dataset.name in _LEGACY and dataset.image_shape[0] == 3


def _fit_normalization(dataset: ImageDataset) -> ChannelNormalization:
    mean, std = channel_statistics(dataset.train.images)
    return ChannelNormalization(mean.float(), torch.where(std > 0, std, torch.ones_like(std)).float())


def _legacy_normalization(dataset: ImageDataset) -> ChannelNormalization:
    if not has_legacy_constants(dataset):
        raise ConfigError(
            f"there are no legacy constants for {dataset.name} ({dataset.source}), only for the named sets "
            f"{', '.join(sorted(_LEGACY))}; use normalize"
        )
    mean, std = _LEGACY[dataset.name]
    return ChannelNormalization(torch.tensor(mean), torch.tensor(std), "legacy-normalize")


def _fit_zca(dataset: ImageDataset) -> Preprocessing:
    images = dataset.train.images
    if images.numel() < _SLOW_VALUES:
        return _whitening_of(images)
    path = cache_path("preprocessing", f"zca-{dataset.fingerprint}.safetensors")
    if path.exists():
        try:
            return preprocessing_from_tensors("zca", load_file(path))
        except (SafetensorError, ArtifactError, OSError):
            note(f"the cached whitening {path} is damaged; fitting it again")
    note(f"fitting the ZCA whitening on {len(images)} images (once; it is cached)")
    whitening = _whitening_of(images, show_progress=True)
    write_tensors(writable(path), whitening.tensors())
    return whitening


def _whitening_of(images: Tensor, *, show_progress: bool = False) -> ZCAWhitening:
    """Return E (V + eps)^(-1/2) E^T for the covariance E V E^T, as Kornia's `zca_mean` does.

    Kornia needs the whole set in float32; here only one chunk at a time is converted.
    """
    mean, covariance = mean_and_covariance(images, show_progress=show_progress)
    values, vectors = torch.linalg.eigh(covariance)
    scaled = vectors * (values.clamp_min_(0) + ZCA_EPS).rsqrt_()
    transform = (scaled @ vectors.T).float()
    # Symmetric up to rounding; made exactly symmetric, it can be stored as a triangle.
    return ZCAWhitening(mean.float(), (transform + transform.T) / 2)

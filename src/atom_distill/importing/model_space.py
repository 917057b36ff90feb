"""The transform into the model space of a published set, and its images there."""

from __future__ import annotations

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import note
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing, has_legacy_constants
from atom_distill.importing.published_set import PublishedSet
from atom_distill.importing.space_check import are_pixel_values, share_of_intensities, space_mismatch
from atom_distill.ops.preprocessing import Preprocessing

INTENSITIES = "none"
"""The name of the `preprocess` of images without any: intensities in 0..1."""
_KINDS = "zca, normalize, or legacy-normalize (the normalization in the code of DC, DSA and DM)"
_ALL = 0.99
_MOST = 0.9


def model_space(published: PublishedSet, dataset: ImageDataset, preprocess: str | None) -> Preprocessing:
    """Return the transform between pixels and the model space in which the images are kept.

    Intensities are kept as networks see them, after channel normalization.

    Args:
        published: its images are [N, C, H, W]; a transform from its files is used as it is.
        dataset: the real data set, to fit the transform on.
        preprocess: its kind, "none" for intensities in 0..1, or None if nothing is known beside the files.

    Raises:
        ConfigError: the kind is not given, or contradicts the images or the files; or the images are pixels as floats.
        UnknownNameError: there is no such kind.
    """
    stored = published.preprocessing
    if stored is not None:
        if preprocess not in (None, stored.kind):
            raise ConfigError(
                f"{published.files[0]} says that its images are in the model space of {stored.kind}, not of "
                f"`preprocess={preprocess}`; leave out `preprocess`"
            )
        return stored
    if published.images.dtype != torch.uint8 and are_pixel_values(published.images.float()):
        raise ConfigError(
            "the images are floats in 0..255, which are pixel values: save them as uint8 "
            '(images.round().clamp(0, 255).to(torch.uint8)), or divide them by 255 and give `preprocess="none"`'
        )
    if published.images.dtype == torch.uint8 and preprocess is None:
        raise ConfigError(f"how are these pixels to be preprocessed? Give `preprocess`: {_KINDS}")
    share = 0.0 if published.images.dtype == torch.uint8 else share_of_intensities(published.images.float())
    if preprocess is None or (preprocess != INTENSITIES and share >= _ALL):
        raise ConfigError(_question(preprocess, plain=share >= _ALL))
    if preprocess != INTENSITIES:
        return fit_preprocessing(preprocess, dataset)
    if published.images.dtype != torch.uint8 and share < _MOST:
        raise ConfigError(
            f'{100 * (1 - share):.0f} % of the values are outside 0..1, where intensities lie: `preprocess="none"` '
            "does not fit; give the model space of the images (normalize, legacy-normalize or zca)"
        )
    return fit_preprocessing("normalize", dataset)


def _question(preprocess: str | None, *, plain: bool) -> str:
    """Return what to give as `preprocess`, for images that may be plain intensities."""
    if not plain:
        return f"in which model space are the images? Give `preprocess`: {_KINDS}; or none, for intensities in 0..1"
    asked = "in which space are the images?" if preprocess is None else f"`preprocess={preprocess}` does not fit:"
    return (
        f'{asked} The values lie in 0..1, as plain intensities do: give `preprocess="none"` for these (IDC, NCFM and '
        "DREAM; with `factor=2` if each image is a grid of 2x2). Images in a model space (zca, normalize, "
        "legacy-normalize) have negative values too"
    )


def into_model_space(images: Tensor, preprocess: str | None, preprocessing: Preprocessing) -> Tensor:
    """Return images in model space: pixels and intensities are transformed, others only made float32.

    Args:
        images: uint8 pixels or floats [N, C, H, W].
        preprocess: "none" if floats are intensities.
        preprocessing: see `model_space`.
    """
    if images.dtype == torch.uint8:
        return preprocessing.apply(images)
    images = images.float()
    return preprocessing.apply(images * 255) if preprocess == INTENSITIES else images


def warn_of_mismatch(images: Tensor, preprocessing: Preprocessing, dataset: ImageDataset) -> None:
    """Print a warning if images do not look like images of a model space."""
    kinds = ["normalize", *(["legacy-normalize"] if has_legacy_constants(dataset) else [])]
    others = {kind: fit_preprocessing(kind, dataset) for kind in kinds if kind != preprocessing.kind}
    reason = space_mismatch(images, preprocessing, others)
    if reason is not None:
        note(f"warning: {reason}")

"""Spatial and channel attention, the two statistics that ATOM mixes, of maps and of transformers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.errors import ShapeError

_EPS = 1e-30
"""Only a blank image has a smaller norm."""
_BITS = 48
"""Powers between 2^-48 and 2^48 can be squared and summed over a layer in float32."""
_ANY_SCALE_ABOVE = 4.0
"""Power above which features are scaled, which makes attention a quarter slower. Up to this power, float32 is wide
enough for features whose largest is between 1e-4 and 1e3, as normalization layers make them."""


def spatial_attention(features: Tensor, *, power: float = 4.0) -> Tensor:
    """Return where in each image a layer responds, scaled to unit length.

    Args:
        features: a layer's output, shape [B, C, H, W], any float dtype.
        power: exponent p_s >= 1; a larger one favors strong responses.

    Returns:
        vec(sum_c |f[c, :, :]|^p_s) divided by its L2 norm, shape [B, H*W], at least float32; zeros for a blank
        image.

    Raises:
        ShapeError: features is not 4-D.
        ValueError: power < 1.

    Source: ATOM (arXiv 2405.01373), spatial branch, which is DataDAM's attention (ICCV 2023).
    """
    return F.normalize(_energy(features, power, "spatial_attention").sum(1).flatten(1), dim=1, eps=_EPS)


def channel_attention(features: Tensor, *, power: float = 4.0) -> Tensor:
    """Return which channels of a layer respond to each image, scaled to unit length.

    Args:
        features: a layer's output, shape [B, C, H, W], any float dtype.
        power: exponent p_c >= 1; a larger one favors strong responses.

    Returns:
        sum_(h,w) |f[:, h, w]|^p_c divided by its L2 norm, shape [B, C], at least float32; zeros for a blank image.

    Raises:
        ShapeError: features is not 4-D.
        ValueError: power < 1.

    Source: ATOM (arXiv 2405.01373), channel branch.
    """
    return F.normalize(_energy(features, power, "channel_attention").sum((2, 3)), dim=1, eps=_EPS)


def attention_to_places(weights: Tensor, *, power: float = 4.0) -> Tensor:
    """Return where a transformer's block looks in each image, scaled to unit length: its heads are the channels.

    Args:
        weights: by which queries attend to places, shape [B, heads, Q, T], any float dtype: of the class token, Q = 1,
            or of all tokens, which count alike.
        power: exponent p_s >= 1; a larger one favors strong responses.

    Returns:
        sum_h (mean_q w[h, q, :])^p_s divided by its L2 norm, shape [B, T], at least float32.

    Raises:
        ShapeError: weights is not 4-D.
        ValueError: power < 1.

    Source: the spatial branch of ATOM (arXiv 2405.01373), with a transformer's own attention in place of the energy
        that stands for it in a ConvNet.
    """
    if weights.ndim != 4:
        raise ShapeError(f"attention_to_places expects weights of shape [B, heads, Q, T], got {tuple(weights.shape)}")
    paid = weights.mean(2, dtype=torch.promote_types(weights.dtype, torch.float32))
    # Weights of T places are about 1/T, whose high powers are tiny; the scale does not matter otherwise.
    return spatial_attention((weights.shape[3] * paid).unsqueeze(3), power=power)


def token_channel_attention(tokens: Tensor, *, power: float = 4.0) -> Tensor:
    """Return which channels of a transformer's block respond to each image, scaled to unit length.

    Args:
        tokens: a block's output, shape [B, T, D], any float dtype.
        power: exponent p_c >= 1; a larger one favors strong responses.

    Returns:
        sum_t |x[t, :]|^p_c divided by its L2 norm, shape [B, D], at least float32; zeros for tokens of zeros.

    Raises:
        ShapeError: tokens is not 3-D.
        ValueError: power < 1.

    Source: ATOM (arXiv 2405.01373), channel branch, with tokens in place of positions.
    """
    if tokens.ndim != 3:
        raise ShapeError(f"token_channel_attention expects tokens of shape [B, T, D], got {tuple(tokens.shape)}")
    return channel_attention(tokens.mT.unsqueeze(3), power=power)


def _energy(features: Tensor, power: float, caller: str) -> Tensor:
    """Return |features|^power, up to a factor for each image, in at least float32: bfloat16 is too coarse to sum."""
    if features.ndim != 4:
        raise ShapeError(f"{caller} expects features of shape [B, C, H, W], got {tuple(features.shape)}")
    if power < 1:
        raise ValueError(f"{caller} needs power >= 1, got {power}")
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    if power > _ANY_SCALE_ABOVE:
        wide = _in_range(wide, power)
    if power == 1:
        return wide.abs()
    # Even powers by squaring: several times faster than pow, and no abs is needed.
    doublings = {2.0: 1, 4.0: 2, 8.0: 3}.get(power)
    if doublings is None:
        return wide.abs().pow(power)
    for _ in range(doublings):
        wide = wide.square()
    return wide


def _in_range(features: Tensor, power: float) -> Tensor:
    """Return the features of each image, divided by the largest where its power cannot be squared and summed.

    Attention does not depend on their scale. Other features, which are the ordinary ones, keep all their bits.
    """
    largest = features.detach().abs().amax((1, 2, 3), keepdim=True)
    limit = 2.0 ** (_BITS / power)
    outside = (largest > limit) | ((largest < 1 / limit) & (largest > 0))
    return features * torch.where(outside, 1 / largest.clamp_min(torch.finfo(features.dtype).tiny), 1.0)

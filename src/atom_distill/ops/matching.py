"""From per-image statistics to the loss: matching vectors, class means, squared distance.

A method chooses which statistics of the features are matched, and with what weight. Scaled by the square root of their
weights and concatenated, they are the image's *matching vector*; the whole family of losses (DM, DataDAM, ATOM) is the
squared distance between class means of matching vectors. A method may add losses of the synthetic images themselves,
such as a cross-entropy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError, ShapeError
from atom_distill.ops.attention import (
    attention_to_places,
    channel_attention,
    spatial_attention,
    token_channel_attention,
)
from atom_distill.ops.features import Features, Layer

LOSS_SCALE = 100.0
"""Factor on the loss before backward. It is what makes the papers' image learning rate of 1.0 right: with it and
lambda = 0.01 the embedding term has the weight 1 that DM gives it (the published DataDAM code does so)."""


class Statistic(NamedTuple):
    """One thing to match.

    Attributes:
        values: shape [B, ...], one row per image.
        weight: its factor in the loss, >= 0.
        name: name of its curve; unnamed or duplicate statistics are numbered from 1.
    """

    values: Tensor
    weight: float = 1.0
    name: str = ""


class ImageLoss(NamedTuple):
    """A loss of each synthetic image, averaged over the images of a class and summed over classes.

    Attributes:
        values: shape [B].
        weight: its factor in the loss, >= 0.
        name: name of its curve; unnamed or duplicate losses are numbered from 1.
    """

    values: Tensor
    weight: float = 1.0
    name: str = ""


class Term(NamedTuple):
    """The part of the loss, and of every matching vector, that belongs to one statistic.

    Attributes:
        name: unique.
        width: columns of the matching vector.
    """

    name: str
    width: int


StatisticsOf = Callable[[Features], list[Statistic]]
"""From a network's features to the statistics that are matched."""
ImageLossesOf = Callable[[Features, Tensor], list[ImageLoss]]
"""From a network's features of synthetic images, and their labels int64 [B], to losses of these images."""


@dataclass(frozen=True)
class Objective:
    """What a method minimizes.

    Attributes:
        statistics: function from features to the statistics whose class means are matched.
        image_losses: function from features and labels to further losses of the synthetic images, or None.
    """

    statistics: StatisticsOf
    image_losses: ImageLossesOf | None = None


def attention_mixer(
    features: Features,
    *,
    spatial: bool = True,
    channel: bool = True,
    embedding: bool = True,
    task_balance: float = 0.01,
    spatial_power: float = 4.0,
    channel_power: float = 4.0,
    second_moments: float = 0.0,
) -> list[Statistic]:
    """Return the statistics of ATOM's objective, as far as they are switched on.

    Attention is taken from every layer but the last, for which the embedding stands. In a transformer, spatial
    attention comes from its attention weights, channel attention from its tokens.

    Args:
        features: features of one batch.
        spatial: match spatial attention (DataDAM, ATOM).
        channel: match channel attention (ATOM).
        embedding: match the embedding (DM, DataDAM, ATOM).
        task_balance: lambda, weight of the embedding relative to the attention.
        spatial_power: p_s.
        channel_power: p_c.
        second_moments: weight of the squares of the embedding, and of each channel's mean square in every layer but the
            last; 0 leaves them out. Together with the means they fix the variances of a class.

    Source: ATOM (arXiv 2405.01373), the objective; DM and DataDAM are settings of it. Moments of feature maps are the
        style of arXiv 2412.04748, which matches means and deviations of channels; class means of squares serve for
        them here, as the loss compares class means.
    """
    statistics = []
    # Not strict: tokens that a network of the user's shows without attention are left to methods of the user's.
    layers = list(zip(features.places, features.channels, strict=False))
    for number, (places, channels) in enumerate(layers[:-1], start=1):
        if spatial:
            statistics.append(Statistic(where(places, power=spatial_power), name=f"spatial {number}"))
        if channel:
            statistics.append(Statistic(which_channels(channels, power=channel_power), name=f"channel {number}"))
        if second_moments:
            statistics.append(Statistic(_mean_squares(channels), second_moments, f"squares {number}"))
    if embedding:
        statistics.append(Statistic(features.embedding, task_balance, "embedding"))
    if second_moments:
        statistics.append(Statistic(_square(features.embedding), second_moments, "embedding squares"))
    return statistics


def where(layer: Layer, *, power: float) -> Tensor:
    """Return where a layer looks in each image, [B, places], of length 1: of `Features.places`."""
    if layer.kind == "attention":
        return attention_to_places(layer.values, power=power)
    return spatial_attention(layer.values, power=power)


def which_channels(layer: Layer, *, power: float) -> Tensor:
    """Return which channels of a layer respond to each image, [B, C], of length 1: of `Features.channels`."""
    if layer.kind == "tokens":
        return token_channel_attention(layer.values, power=power)
    return channel_attention(layer.values, power=power)


def _mean_squares(layer: Layer) -> Tensor:
    """Return the mean square of each channel over the places, [B, C]."""
    return _square(layer.values).mean(1 if layer.kind == "tokens" else (2, 3))


def _square(values: Tensor) -> Tensor:
    """Return the squares in at least float32."""
    return values.to(torch.promote_types(values.dtype, torch.float32)).square()


def matching_vector(statistics: Sequence[Statistic]) -> Tensor:
    """Concatenate weighted statistics.

    Returns:
        Shape [B, D], float32 at least; squared distances between rows are the weighted sums of squared
        distances between the statistics.

    Raises:
        ConfigError: no statistics.
        ValueError: a negative weight.
    """
    if not statistics:
        raise ConfigError(
            "nothing is left to match: switch on at least one term of the objective, or give a deeper network"
        )
    if any(statistic.weight < 0 for statistic in statistics):
        raise ValueError(f"weights must be >= 0, got {[statistic.weight for statistic in statistics]}")
    columns = []
    for values, weight, _ in statistics:
        wide = values.flatten(1).to(torch.promote_types(values.dtype, torch.float32))
        columns.append(wide if weight == 1.0 else wide * math.sqrt(weight))
    return torch.cat(columns, dim=1)


def terms_of(statistics: Sequence[Statistic]) -> tuple[Term, ...]:
    """Return which columns of a matching vector belong to which statistic, in order."""
    names = unique_names([statistic.name for statistic in statistics], "statistic")
    widths = [statistic.values[0].numel() for statistic in statistics]
    return tuple(map(Term, names, widths))


def unique_names(names: Sequence[str], fallback: str) -> list[str]:
    """Return the names, with unnamed and duplicate ones numbered from 1 by their place.

    Args:
        names: some of them perhaps empty or equal.
        fallback: what stands for an empty name.
    """
    return [
        name if name and names.count(name) == 1 else f"{name or fallback} ({number})"
        for number, name in enumerate(names, start=1)
    ]


def weighted_losses(losses: Sequence[ImageLoss]) -> Tensor:
    """Return the weighted losses of each image as float32 columns, shape [B, L].

    Raises:
        ShapeError: a loss is not one number per image.
        ValueError: a negative weight.
    """
    if any(loss.weight < 0 for loss in losses):
        raise ValueError(f"weights must be >= 0, got {[loss.weight for loss in losses]}")
    for loss in losses:
        if loss.values.ndim != 1:
            raise ShapeError(f"the loss {loss.name!r} must be one number per image, got {tuple(loss.values.shape)}")
    return torch.stack([loss.values.float() * loss.weight for loss in losses], dim=1)


def class_sums(matching_vectors: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Sum matching vectors by class: [B, D] and labels [B] give [K, D]."""
    sums = matching_vectors.new_zeros(num_classes, matching_vectors.shape[1])
    return sums.index_add(0, labels, matching_vectors)


def class_means(matching_vectors: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Average matching vectors by class: [B, D] and labels [B] give [K, D]; a class without images gives zeros."""
    # Not bincount, for which a GPU's host waits to learn the largest label.
    counts = labels.new_zeros(num_classes).index_add_(0, labels, torch.ones_like(labels)).clamp_min(1)
    return class_sums(matching_vectors, labels, num_classes) / counts.to(matching_vectors.dtype).unsqueeze(1)


def matching_loss(means_real: Tensor, means_syn: Tensor) -> Tensor:
    """Return the squared distance between class means, summed over classes, times LOSS_SCALE.

    A sum over classes, not a mean: class k's gradient does not depend on how many classes there are.

    Args:
        means_real: shape [K, D], no gradient needed.
        means_syn: shape [K, D].

    Raises:
        ShapeError: the shapes differ.
    """
    if means_real.shape != means_syn.shape:
        raise ShapeError(
            f"class means must have one shape, got real {tuple(means_real.shape)} "
            f"and synthetic {tuple(means_syn.shape)}"
        )
    return LOSS_SCALE * (means_syn - means_real).square().sum()


def matching_terms(means_real: Tensor, means_syn: Tensor, terms: Sequence[Term]) -> Tensor:
    """Return each term's part of `matching_loss`, shape [T], without gradient; their sum is the loss.

    Args:
        means_real: shape [K, D].
        means_syn: shape [K, D].
        terms: whose columns are which; their widths add up to D.
    """
    by_column = (means_syn.detach() - means_real.detach()).square().sum(0)
    parts = by_column.split([term.width for term in terms])
    return LOSS_SCALE * torch.stack([part.sum() for part in parts])

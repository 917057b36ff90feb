"""From per-image statistics to the loss: matching_vectors, class means, squared distance.

A method says which statistics of the features count, and with what weight. Scaling each by the square root of
its weight and laying them side by side gives one vector per image, its *matching_vector*; the whole family of losses
(DM, DataDAM, ATOM) is then the squared distance between class means of matching_vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atom_distill.base.errors import ShapeError
from atom_distill.ops.attention import channel_attention, spatial_attention
from atom_distill.ops.features import Features

LOSS_SCALE = 100.0
"""Factor on the loss before backward. It is what makes the papers' image learning rate of 1.0 right: with it and
lambda = 0.01 the embedding term has the weight 1 that DM gives it (the published DataDAM code does so)."""


class Statistic(NamedTuple):
    """One thing to match.

    Attributes:
        values: shape [B, ...], one row per image.
        weight: its factor in the loss, >= 0.
        name: what curves of the loss's terms call it; without one it is numbered.
    """

    values: Tensor
    weight: float = 1.0
    name: str = ""


class Term(NamedTuple):
    """A statistic's part of the loss, and of every matching_vector.

    Attributes:
        name: of the statistic, unlike any other's.
        width: columns of the matching_vector.
    """

    name: str
    width: int


StatisticsOf = Callable[[Features], list[Statistic]]
"""What a method is: from a network's features to what is matched."""


def attention_mixer(
    features: Features,
    *,
    spatial: bool = True,
    channel: bool = True,
    embedding: bool = True,
    task_balance: float = 0.01,
    spatial_power: float = 4.0,
    channel_power: float = 4.0,
) -> list[Statistic]:
    """Return the statistics of ATOM's objective, each with its switch.

    Attention is taken from every layer but the last; the last is represented by the embedding.

    Args:
        features: of one batch.
        spatial: match spatial attention (DataDAM, ATOM).
        channel: match channel attention (ATOM).
        embedding: match the embedding (DM, DataDAM, ATOM).
        task_balance: lambda, weight of the embedding against the attention.
        spatial_power: p_s.
        channel_power: p_c.

    Source: ATOM (arXiv 2405.01373), the objective; DM and DataDAM are settings of it.
    """
    statistics = []
    for number, layer in enumerate(features.maps[:-1], start=1):
        if spatial:
            statistics.append(Statistic(spatial_attention(layer, power=spatial_power), name=f"spatial {number}"))
        if channel:
            statistics.append(Statistic(channel_attention(layer, power=channel_power), name=f"channel {number}"))
    if embedding:
        statistics.append(Statistic(features.embedding, task_balance, "embedding"))
    return statistics


def matching_vector(statistics: Sequence[Statistic]) -> Tensor:
    """Lay weighted statistics side by side.

    Returns:
        Shape [B, D], float32 at least; squared distances between rows are the weighted sums of squared
        distances between the statistics.

    Raises:
        ValueError: no statistics, or a negative weight.
    """
    if not statistics:
        raise ValueError("the objective has no statistics: switch on at least one of its terms")
    if any(statistic.weight < 0 for statistic in statistics):
        raise ValueError(f"weights must be >= 0, got {[statistic.weight for statistic in statistics]}")
    columns = []
    for values, weight, _ in statistics:
        wide = values.flatten(1).to(torch.promote_types(values.dtype, torch.float32))
        columns.append(wide if weight == 1.0 else wide * math.sqrt(weight))
    return torch.cat(columns, dim=1)


def terms_of(statistics: Sequence[Statistic]) -> tuple[Term, ...]:
    """Say which columns of a matching_vector are whose, in their order.

    Statistics without a name, or with that of another, get their number, from 1.
    """
    names = [statistic.name for statistic in statistics]
    told_apart = [
        name if name and names.count(name) == 1 else f"{name or 'statistic'} ({number})"
        for number, name in enumerate(names, start=1)
    ]
    widths = [statistic.values[0].numel() for statistic in statistics]
    return tuple(map(Term, told_apart, widths))


def class_sums(matching_vectors: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Add up matching_vectors by class: [B, D] and labels [B] give [K, D]."""
    sums = matching_vectors.new_zeros(num_classes, matching_vectors.shape[1])
    return sums.index_add(0, labels, matching_vectors)


def class_means(matching_vectors: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Average matching_vectors by class: [B, D] and labels [B] give [K, D]; a class without images gives zeros."""
    counts = torch.bincount(labels, minlength=num_classes).clamp_min(1)
    return class_sums(matching_vectors, labels, num_classes) / counts.to(matching_vectors.dtype).unsqueeze(1)


def matching_loss(means_real: Tensor, means_syn: Tensor) -> Tensor:
    """Squared distance between class means, summed over classes, times LOSS_SCALE.

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
    """Give each term's part of `matching_loss`, shape [T], without gradient; their sum is the loss.

    Args:
        means_real: shape [K, D].
        means_syn: shape [K, D].
        terms: whose columns are which; their widths add up to D.
    """
    by_column = (means_syn.detach() - means_real.detach()).square().sum(0)
    parts = by_column.split([term.width for term in terms])
    return LOSS_SCALE * torch.stack([part.sum() for part in parts])

"""What a fixed random network sees: attention and embeddings of synthetic and real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import Progress
from atom_distill.base.seeding import generator
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.attention import channel_attention, spatial_attention

_BATCH = 32
"""Images in a forward: so few that their maps stay in a processor's cache."""
_SIDE = 32
"""Attention is shown at 32 x 32 at most: finer than that no eye follows it in an overlay."""
_SEED = 0


@dataclass(frozen=True)
class Look:
    """What the network sees of n images.

    Attributes:
        spatial: by layer, float32 [n, h, w].
        channel: by layer, float32 [n, C].
        embedding: float32 [n, D].
    """

    spatial: list[Tensor]
    channel: list[Tensor]
    embedding: Tensor


@dataclass(frozen=True)
class Means:
    """Averages over images of each class.

    Attributes:
        spatial: by layer, float32 [K, h, w].
        channel: by layer, float32 [K, C].
        counts: images of each class, int64 [K].
    """

    spatial: list[Tensor]
    channel: list[Tensor]
    counts: Tensor


class Probe:
    """The matching network of a run with weights that are the same in every report.

    Distillation draws a new network at each step; one of them is enough to see what attention is, and only with one do
    its channels mean the same for real and synthetic images.

    Args:
        settings: of the run; where it has no network, a ConvNet is taken.
        image_shape: (C, H, W).
        num_classes: K.

    Raises:
        AtomError: the network cannot be built here.
    """

    def __init__(self, settings: Mapping[str, Any], image_shape: tuple[int, int, int], num_classes: int) -> None:
        names = ("depth", "width", "norm", "activation", "pooling")
        shape = NetworkShape(**{name: settings.get(name) for name in names})
        self.architecture = str(settings.get("arch") or "convnet")
        self._network: Network = build_model(self.architecture, image_shape, num_classes, shape)
        reinitialize(self._network, generator(_SEED, "report"))
        self._network.requires_grad_(False)
        self._powers = [float(settings.get(name) or 4.0) for name in ("spatial_power", "channel_power")]

    @torch.no_grad()
    def looks(self, images: Iterator[Tensor]) -> Iterator[Look]:
        """Look at batches of images in model space, [b, C, H, W] each."""
        spatial_power, channel_power = self._powers
        for batch in images:
            features = self._network.features(batch.float())
            maps = [layer for layer in features.maps if layer.shape[2] * layer.shape[3] > 1]
            yield Look(
                [_sized(spatial_attention(layer, power=spatial_power), layer) for layer in maps],
                [channel_attention(layer, power=channel_power) for layer in maps],
                features.embedding.flatten(1),
            )

    def look(self, images: Tensor) -> Look:
        """Look at images in model space, [n, C, H, W]."""
        parts = list(self.looks(iter(images.split(_BATCH))))
        layers = range(len(parts[0].spatial))
        return Look(
            [torch.cat([part.spatial[layer] for part in parts]) for layer in layers],
            [torch.cat([part.channel[layer] for part in parts]) for layer in layers],
            torch.cat([part.embedding for part in parts]),
        )

    def look_at_many(self, count: int, load: Callable[[Tensor], Tensor], label: str) -> Iterator[tuple[Tensor, Look]]:
        """Look at many images batch by batch, under a bar.

        Args:
            count: how many there are.
            load: from their places, int64 [b], to images in model space.
            label: of the bar.

        Yields:
            Places, int64 [b], and what is seen there.
        """
        parts = torch.arange(count).split(_BATCH)
        with Progress(label, total=count, unit="images") as bar:
            for part, look in zip(parts, self.looks(load(part) for part in parts), strict=True):
                yield part, look
                bar.advance(len(part))


class ClassMeans:
    """Adds up attention by class, batch after batch.

    Args:
        classes: K.
    """

    def __init__(self, classes: int) -> None:
        self._counts = torch.zeros(classes, dtype=torch.int64)
        self._sums: list[Tensor] = []

    def add(self, look: Look, labels: Tensor) -> None:
        """Take in what was seen of images with labels, int64 [n]."""
        classes = len(self._counts)
        rows = [*look.spatial, *look.channel]
        if not self._sums:
            self._sums = [row.new_zeros(classes, *row.shape[1:]) for row in rows]
        for total, row in zip(self._sums, rows, strict=True):
            total.index_add_(0, labels, row)
        self._counts += torch.bincount(labels, minlength=classes)

    def means(self) -> Means:
        """Give the averages so far; a class without images gives zeros."""
        counts = self._counts.clamp_min(1)
        means = [total / counts.view(-1, *[1] * (total.ndim - 1)) for total in self._sums]
        return Means(means[: len(means) // 2], means[len(means) // 2 :], self._counts)


def _sized(attention: Tensor, layer: Tensor) -> Tensor:
    """Give attention [n, H * W] its two dimensions back, and make it small enough to show."""
    count, _, height, width = layer.shape
    maps = attention.view(count, 1, height, width)
    wanted = (min(height, _SIDE), min(width, _SIDE))
    return (maps if wanted == (height, width) else F.adaptive_avg_pool2d(maps, wanted)).squeeze(1)

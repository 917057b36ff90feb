"""The responses of one random network, the same in every report: attention and embeddings of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import Progress
from atom_distill.base.seeding import generator
from atom_distill.config.distill import architectures_of
from atom_distill.data.dataset import ImageDataset
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize
from atom_distill.ops.matching import where, which_channels
from atom_distill.ops.preprocessing import Preprocessing

_BATCH = 32
"""Images in one forward pass: so few that their maps stay in a processor's cache."""
_MAX_SIDE = 32
"""Attention maps are reduced to 32 x 32: an overlay shows nothing finer."""
_SEED = 0


@dataclass(frozen=True, eq=False)
class Responses:
    """The responses of a network to n images.

    Attributes:
        spatial: spatial attention by layer, float32 [n, h, w].
        channel: channel attention by layer, float32 [n, C].
        embedding: float32 [n, D].
    """

    spatial: list[Tensor]
    channel: list[Tensor]
    embedding: Tensor


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Mean attention of the images of each class; zeros for a class without images.

    Attributes:
        spatial: by layer, float32 [K, h, w].
        channel: by layer, float32 [K, C].
        counts: images of each class, int64 [K].
    """

    spatial: list[Tensor]
    channel: list[Tensor]
    counts: Tensor


class FixedNetwork:
    """The matching network of a run with weights that are the same in every report.

    Distillation draws a new network at each step. One of them is enough to show what attention is, and with one and the
    same network a channel means the same for real and synthetic images, and in all runs.

    Args:
        settings: of the run; one without an architecture gets a ConvNet, one with several the first.
        image_shape: (C, H, W).
        num_classes: K.

    Attributes:
        architecture: its name.
        identity: equal for two networks that give the same responses to the same images.

    Raises:
        AtomError: the network cannot be built.
    """

    def __init__(self, settings: Mapping[str, Any], image_shape: tuple[int, int, int], num_classes: int) -> None:
        shape = NetworkShape(**{field.name: settings.get(field.name) for field in fields(NetworkShape)})
        self.architecture = architectures_of(str(settings.get("arch") or "convnet"))[0]
        self._spatial_power, self._channel_power = (
            float(settings.get(name) or 4.0) for name in ("spatial_power", "channel_power")
        )
        self.identity = (self.architecture, shape, self._spatial_power, self._channel_power, image_shape, num_classes)
        self._network = build_model(self.architecture, image_shape, num_classes, shape)
        reinitialize(self._network, generator(_SEED, "report"))
        self._network.requires_grad_(False)

    def responses(self, images: Tensor) -> Responses:
        """Return the responses to images in model space, [n, C, H, W]."""
        return concatenated([self._responses(batch) for batch in images.split(_BATCH)])

    def real_batches(
        self, dataset: ImageDataset, indices: Tensor, preprocessing: Preprocessing, label: str
    ) -> Iterator[Responses]:
        """Yield the responses to training images, batch by batch, under a progress bar.

        Args:
            dataset: whose training images they are.
            indices: of the images, int64 [n].
            preprocessing: from pixels to model space.
            label: of the progress bar.
        """
        with Progress(label, total=len(indices), unit="images") as bar:
            for batch in indices.split(_BATCH):
                yield self._responses(preprocessing.apply(dataset.train.images[batch]))
                bar.advance(len(batch))

    @torch.no_grad()
    def _responses(self, batch: Tensor) -> Responses:
        features = self._network.features(batch.float())
        layers = [
            (maps, places, channels)
            # Not strict: tokens that a network of the user's does not show as maps have no places to be drawn at.
            for maps, places, channels in zip(features.maps, features.places, features.channels, strict=False)
            if maps.shape[2] * maps.shape[3] > 1
        ]
        return Responses(
            [_as_maps(where(places, power=self._spatial_power), maps) for maps, places, _ in layers],
            [which_channels(channels, power=self._channel_power) for *_, channels in layers],
            features.embedding.flatten(1),
        )


def concatenated(parts: Sequence[Responses]) -> Responses:
    """Return the responses of several batches as one."""
    return Responses(
        [torch.cat(layer) for layer in zip(*(part.spatial for part in parts), strict=True)],
        [torch.cat(layer) for layer in zip(*(part.channel for part in parts), strict=True)],
        torch.cat([part.embedding for part in parts]),
    )


def class_means(responses: Responses, labels: Tensor, num_classes: int) -> ClassMeans:
    """Return the mean attention of each class of images with labels, int64 [n]."""
    counts = torch.bincount(labels, minlength=num_classes)

    def mean(values: Tensor) -> Tensor:
        sums = values.new_zeros(num_classes, *values.shape[1:]).index_add_(0, labels, values)
        return sums / counts.clamp_min(1).view(-1, *[1] * (values.ndim - 1))

    return ClassMeans([mean(maps) for maps in responses.spatial], [mean(rows) for rows in responses.channel], counts)


def _as_maps(attention: Tensor, layer: Tensor) -> Tensor:
    """Return attention [n, H * W] of a layer [n, C, H, W] as maps [n, h, w] that are small enough to show."""
    count, _, height, width = layer.shape
    maps = attention.view(count, 1, height, width)
    size = (min(height, _MAX_SIDE), min(width, _MAX_SIDE))
    return (maps if size == (height, width) else F.adaptive_avg_pool2d(maps, size)).squeeze(1)

"""How many images a forward pass may have, so that a run keeps to its memory limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.distillation.matching_execution import CHUNKS_PREPARED
from atom_distill.models.batch_norm import mixes_images
from atom_distill.models.network import Network
from atom_distill.ops.matching import StatisticsOf, matching_vector

GIB = 2**30
_COPIES_OF_SET = 6
"""The stored values, their gradient, two moments, their average, and one more that is being written."""
_COPIES_OF_MEANS = 3
"""Class means of real and of synthetic matching vectors, and their gradient."""
_STEPS_OF_PREPARATION = 4
"""Float copies of a real image on its way into the network."""
_PREPARED = CHUNKS_PREPARED * _STEPS_OF_PREPARATION
"""Float copies of real images for each image in a forward pass, since several chunks are prepared at once."""
_MATRICES_OF_FIT = 7
"""Float64 matrices that fitting a whitening takes; measured."""
_COMPILER = 200 * 2**20
"""What torch.compile leaves in memory; measured are about 120 MiB for a ConvNet-3."""
_BACKWARD_COPIES = 9
"""Copies of the largest map that the backward pass holds beside what was saved for it: gradients, oneDNN's workspace.
Measured: 7 to 9 with ConvNets at 32x32 to 128x128, 9 with VGG-11 and AlexNet, 9 to 11 with ResNet-18."""
_USED = 0.8
"""Fraction of the limit that is planned for; the rest is for what allocators keep and compilers take."""


@dataclass(frozen=True)
class Footprint:
    """Memory of a network per image, bytes.

    Attributes:
        trained: of a synthetic image: all that is saved for the backward pass, and what that pass needs.
        seen: of a real image, which needs no gradient.
        matching_vector: of its matching vector.
    """

    trained: int
    seen: int
    matching_vector: int


def footprint(network: Network, statistics_of: StatisticsOf, image_shape: tuple[int, int, int]) -> Footprint:
    """Return the footprint of a network, measured on tensors that have sizes and no memory.

    Args:
        network: on the device "meta".
        statistics_of: what the method matches.
        image_shape: (C, H, W).
    """
    kept: dict[int, int] = {}

    weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    alive: list[Tensor] = []  # so that no tensor gets the storage of one before it

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    pair = torch.zeros(2, *image_shape, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = network.features(pair)
        out = matching_vector(statistics_of(features))
    maps = [layer.numel() * layer.element_size() for layer in features.maps]
    largest = max(kept.values())  # a map; in a transformer the values between the two layers of a block's MLP
    return Footprint(
        trained=(sum(kept.values()) + _BACKWARD_COPIES * largest) // 2,
        seen=(sum(maps) + 2 * largest) // 2,
        matching_vector=out.shape[1] * out.element_size(),
    )


@dataclass(frozen=True, eq=False)
class Demand:
    """What a run needs of a process's memory, besides its network.

    Attributes:
        image_shape: (C, H, W).
        per_class: decoded images of each class, int64 [K].
        stored_bytes: size of all stored values.
        real: real images of each class in a step, int64 [K].
        ranks: processes that share the classes.
        classes_in_step: number of classes in a step, of all ranks.
        whitened: whether a ZCA whitening is fitted.
        compiled: number of networks that are compiled.
    """

    image_shape: tuple[int, int, int]
    per_class: Tensor
    stored_bytes: int
    real: Tensor
    ranks: int
    classes_in_step: int
    whitened: bool
    compiled: int

    @property
    def image(self) -> int:
        """Size of an image in float32, bytes."""
        return 4 * math.prod(self.image_shape)

    def fixed(self, of_one: Footprint) -> int:
        """Return what is held whatever the chunk, bytes."""
        whitening = _MATRICES_OF_FIT * 8 * math.prod(self.image_shape) ** 2 if self.whitened else 0
        classes = min(math.ceil(len(self.per_class) / self.ranks), self.classes_in_step)
        images = _COPIES_OF_SET * self.stored_bytes
        means = _COPIES_OF_MEANS * of_one.matching_vector * classes
        return images + means + whitening + _COMPILER * self.compiled

    def largest_share(self, counts: Tensor) -> int:
        """Return the largest number of images of a rank in a step, given the images of each class [K]."""
        of_ranks = (counts[rank :: self.ranks].sort(descending=True).values for rank in range(self.ranks))
        return max(int(mine[: self.classes_in_step].sum()) for mine in of_ranks)


def affordable_chunk(limit: float, network: Network, of_one: Footprint, demand: Demand, *, held: int) -> int:
    """Return how many images a forward pass may have.

    Args:
        limit: memory of each process, GiB.
        network: tells whether images of a batch influence each other.
        of_one: what an image needs.
        demand: what else is needed.
        held: bytes in use already.

    Raises:
        ConfigError: the limit is too small for the images of one class, or of all where they are normalized
            together; the message names a limit that is enough.
    """
    fixed = held + demand.fixed(of_one)
    each = max(of_one.trained, of_one.seen + _PREPARED * demand.image) + of_one.matching_vector
    if mixes_images(network):
        real, synthetic = demand.largest_share(demand.real), demand.largest_share(demand.per_class)
        seen = of_one.seen + _STEPS_OF_PREPARATION * demand.image + of_one.matching_vector
        least, why = (
            max(real * seen, synthetic * (of_one.trained + of_one.matching_vector)),
            "BatchNorm sees all images",
        )
        chunk = real + synthetic
    else:
        largest = int(demand.per_class.max())
        least, why = largest * each, f"the {largest} images of a class are seen"
        chunk = int((_USED * limit * GIB - fixed) // each)
    if fixed + least > _USED * limit * GIB:
        enough = (fixed + least) / _USED / GIB
        raise ConfigError(
            f"`memory` {limit:g} is too small: {fixed / GIB:.3g} GiB are held in any case, and {why} at once; give "
            f"{math.ceil(enough * 10) / 10:g} or more"
        )
    return chunk

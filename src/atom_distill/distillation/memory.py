"""How many images a forward may have, so that a run keeps to a budget of memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.device import pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.base.memory import held_bytes
from atom_distill.config.distill import DistillConfig
from atom_distill.models.registry import Network, mixes_images
from atom_distill.ops.matching import StatisticsOf, signature

GIB = 2**30
_COPIES_OF_SET = 6
"""The synthetic images, their gradient, two moments, their average, and one more that is being written."""
_COPIES_OF_MEANS = 3
"""Class means of real and of synthetic signatures, and their gradient."""
_PREPARED = 40
"""Float copies of real images beside each that is in a forward: ten chunks are prepared at once, in four steps."""
_WAY_BACK = 9
"""Largest maps that the way back holds beside what was kept for it: gradients and oneDNN's workspace. Measured are 7 to
9 of ConvNets at 32x32 to 128x128, 9 of VGG-11 and AlexNet, 9 to 11 of ResNet-18."""
_USED = 0.8
"""Share of the budget that is planned for; the rest is for what allocators keep and compilers take."""


@dataclass(frozen=True)
class Footprint:
    """What a network takes, by image, bytes.

    Attributes:
        trained: of an image that is optimised: all that is kept for the way back, and what that takes.
        seen: of an image that needs no gradient.
        signature: of its statistics.
    """

    trained: int
    seen: int
    signature: int


def footprint(network: Network, statistics_of: StatisticsOf, image_shape: tuple[int, int, int]) -> Footprint:
    """Measure a network on tensors that have sizes and no memory.

    Args:
        network: on the device "meta".
        statistics_of: the method.
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
        out = signature(statistics_of(features))
    maps = [layer.numel() * layer.element_size() for layer in features.maps]
    return Footprint(
        trained=(sum(kept.values()) + _WAY_BACK * max(kept.values())) // 2,
        seen=(sum(maps) + 2 * max(maps)) // 2,
        signature=out.shape[1] * out.element_size(),
    )


def affordable_chunk(
    config: DistillConfig, network: Network, of_one: Footprint, image_shape: tuple[int, int, int], per_class: Tensor
) -> int:
    """Say how many images one forward may have.

    Args:
        config: the run's settings; `memory` is the budget.
        network: for what it does with a batch.
        of_one: what an image takes.
        image_shape: (C, H, W).
        per_class: synthetic images of each class, int64 [K].

    Raises:
        ConfigError: the budget is too small for the images of one class; the message says what would do.
    """
    assert config.memory is not None
    image, classes, largest = 4 * math.prod(image_shape), len(per_class), int(per_class.max())
    fixed = 0 if pick_device(config.device).type == "cuda" else held_bytes()
    fixed += _COPIES_OF_SET * image * int(per_class.sum()) + _COPIES_OF_MEANS * of_one.signature * classes
    each = max(of_one.trained, of_one.seen + _PREPARED * image) + of_one.signature
    mixing = mixes_images(network)
    least = max(classes * config.batch_real, int(per_class.sum())) if mixing else largest
    chunk = int((_USED * config.memory * GIB - fixed) // each)
    if chunk < least:
        enough = (fixed + least * each) / _USED / GIB
        why = "BatchNorm sees all classes at once" if mixing else f"the {largest} images of a class are seen at once"
        raise ConfigError(
            f"--memory {config.memory:g} is too small: {fixed / GIB:.1f} GiB are held in any case, and {why}; give "
            f"{math.ceil(enough * 10) / 10:g} or more"
        )
    return chunk

"""How many images a forward may have, so that a run keeps to a budget of memory."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from atom_distill.base.errors import ConfigError
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
_USED = 0.8
"""Share of the budget that is planned for; the rest is for what allocators keep and compilers take."""


@dataclass(frozen=True)
class Footprint:
    """What a network takes, by image, bytes.

    Attributes:
        trained: of an image that is optimised: all that the way back needs, and the largest map twice.
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

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        alive.append(tensor)  # so that no other tensor gets its storage's address
        return tensor

    alive: list[Tensor] = []
    weights = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    pair = torch.zeros(2, *image_shape, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = network.features(pair)
        out = signature(statistics_of(features))
    maps = [layer.numel() * layer.element_size() for layer in features.maps]
    saved = max(0, sum(kept.values()) - weights)
    return Footprint(
        trained=(saved + 2 * max(maps)) // 2,
        seen=(sum(maps) + 2 * max(maps)) // 2,
        signature=out.shape[1] * out.element_size(),
    )


def affordable_chunk(
    config: DistillConfig, network: Network, of_one: Footprint, image_shape: tuple[int, int, int], num_classes: int
) -> int:
    """Say how many images one forward may have.

    Args:
        config: the run's settings; `memory` is the budget.
        network: for what it does with a batch.
        of_one: what an image takes.
        image_shape: (C, H, W).
        num_classes: K.

    Raises:
        ConfigError: the budget is too small for the images of one class; the message says what would do.
    """
    assert config.memory is not None
    image = 4 * math.prod(image_shape)
    fixed = _held_already(config) + _COPIES_OF_SET * image * config.images(num_classes)
    fixed += _COPIES_OF_MEANS * of_one.signature * num_classes
    each = max(of_one.trained, of_one.seen + _PREPARED * image) + of_one.signature
    per_class = -(-config.images(num_classes) // num_classes)
    least = num_classes * max(config.batch_real, per_class) if mixes_images(network) else per_class
    chunk = int((_USED * config.memory * GIB - fixed) // each)
    if chunk < least:
        enough = (fixed + least * each) / _USED / GIB
        why = "BatchNorm sees all classes at once" if least > per_class else "the images of a class are seen at once"
        raise ConfigError(
            f"--memory {config.memory:g} is too small: {why}; give {math.ceil(enough * 10) / 10:g} or more"
        )
    return chunk


def _held_already(config: DistillConfig) -> int:
    """Give the bytes that the process has, which on a GPU are none of the budget's."""
    if not config.device.startswith("cpu") and torch.cuda.is_available():
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024)

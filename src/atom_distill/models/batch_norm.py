"""BatchNorm, the one layer through which an image's features depend on the other images of its batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from atom_distill.base.errors import ConfigError


def mixes_images(network: nn.Module) -> bool:
    """Return whether an image's features depend on the batch that it is in, as BatchNorm makes them."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def synchronized(network: nn.Module, device: torch.device) -> None:
    """Let every BatchNorm of a network normalize over the images of all processes, in place, on GPUs.

    The layers become torch's SyncBatchNorm.

    Raises:
        ConfigError: the device is no GPU, on which alone SyncBatchNorm runs; or a layer does more than normalize, as
            some of timm's, which have the activation inside.
    """
    kinds = {type(module) for module in network.modules() if isinstance(module, _BatchNorm)}
    advice = "start it without torchrun, or with another architecture or norm (e.g. norm instance)"
    if device.type != "cuda":
        raise ConfigError(
            f"the network has BatchNorm, which processes can synchronize on GPUs only, not on {device}: {advice}"
        )
    if kinds != {nn.BatchNorm2d}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ConfigError(f"the network normalizes over the batch by {names}, which cannot be synchronized: {advice}")
    nn.SyncBatchNorm.convert_sync_batchnorm(network)

"""BatchNorm, the only layer that makes the features of an image depend on the other images of its batch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from atom_distill.base.errors import ConfigError


def mixes_images(network: nn.Module) -> bool:
    """Return whether the features of an image depend on the other images of its batch, as with BatchNorm."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def synchronized(network: nn.Module, device: torch.device) -> None:
    """Replace every BatchNorm of a network, in place, by torch's SyncBatchNorm over all processes.

    Raises:
        ConfigError: the device is not a GPU, as SyncBatchNorm requires; or a layer is a variant of BatchNorm, e.g. that
            of some timm models, which includes the activation.
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

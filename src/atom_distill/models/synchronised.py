"""BatchNorm whose statistics are those of the images of all ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from atom_distill.base.errors import ConfigError
from atom_distill.base.ranks import ranks


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """In training it normalises by mean and variance over all ranks' images; ranks may have different numbers of them.

    torch's own SyncBatchNorm runs on GPUs only. Running statistics, which nothing here reads, stay as they are.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise maps [B, C, H, W]; all ranks must call this as many times."""
        wide = images.float()
        count = wide.new_full((1,), wide.numel() / wide.shape[1])
        centred = wide - _over_ranks(wide.sum((0, 2, 3)), count).view(1, -1, 1, 1)
        variance = _over_ranks(centred.square().sum((0, 2, 3)), count)
        scale = self.weight.float() * (variance + self.eps).rsqrt()
        out = centred * scale.view(1, -1, 1, 1) + self.bias.float().view(1, -1, 1, 1)
        return out.to(images.dtype)


def synchronise(network: nn.Module) -> None:
    """Put `SynchronisedBatchNorm` in the place of every BatchNorm2d, with the same weights.

    Raises:
        ConfigError: a norm is of another kind, e.g. one of timm's that has the activation in it.
    """
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d and child.affine:
            twin = SynchronisedBatchNorm(child.num_features, child.eps)
            twin.weight, twin.bias = child.weight, child.bias
            setattr(network, name, twin)
        elif isinstance(child, _BatchNorm):
            raise ConfigError(
                f"the network normalises over the batch by {type(child).__name__}, which several processes cannot do "
                "together: start it without torchrun, or with another --arch or --norm"
            )
        else:
            synchronise(child)


def _over_ranks(sums: Tensor, count: Tensor) -> Tensor:
    """Give means from the sums [C] and the number of values [1] on each rank, differentiable."""
    total = ranks().differentiable_sum(torch.cat([sums, count]))
    return total[:-1] / total[-1]

"""BatchNorm whose statistics are those of the images of all ranks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """In training it normalises by mean and variance over all ranks' images; ranks may have different numbers of them.

    torch's own SyncBatchNorm runs on GPUs only. Running statistics, which nothing here reads, are not kept.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise maps [B, C, H, W]; all ranks must call this as many times."""
        wide = images.float()
        count = wide.new_full((1,), wide.numel() / wide.shape[1])
        mean = _over_ranks(wide.sum((0, 2, 3)), count)
        centred = wide - mean.view(1, -1, 1, 1)
        variance = _over_ranks(centred.square().sum((0, 2, 3)), count)
        scale = self.weight.float() * torch.rsqrt(variance + self.eps)
        out = centred * scale.view(1, -1, 1, 1) + self.bias.float().view(1, -1, 1, 1)
        return out.to(images.dtype)


def synchronise(network: nn.Module) -> None:
    """Put `SynchronisedBatchNorm` in the place of every BatchNorm2d, with the same weights."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            twin = SynchronisedBatchNorm(child.num_features, child.eps, track_running_stats=False)
            twin.weight, twin.bias = child.weight, child.bias
            setattr(network, name, twin)
        else:
            synchronise(child)


def _over_ranks(sums: Tensor, count: Tensor) -> Tensor:
    """Give means from the sums [C] and the number of values [1] on each rank, differentiable."""
    total: Tensor = all_reduce(torch.cat([sums, count]), op=dist.ReduceOp.SUM)
    return total[:-1] / total[-1]

"""The soft labels of a run's images: what the networks of its pools predict."""

from __future__ import annotations

from torch import Tensor

from atom_distill.distillation.method import RunPlan
from atom_distill.training.soft_labels import soft_labels_of


def soft_labels(plan: RunPlan, images: Tensor) -> Tensor | None:
    """Return the class probabilities of all images of a run, float32 [M, K]; None for a run with hard labels.

    The images of a set that is extended keep the labels that they have there.

    Args:
        plan: of the run, whose pools are trained; all of its ranks call this.
        images: decoded, float32 [M, C, H, W].
    """
    if not plan.settings.soft_labels:
        return None

    def predicted() -> Tensor:
        return soft_labels_of([network for pool in plan.pools for network in pool.last_networks()], images)

    labels = plan.shard.ranks.broadcast_from_rank0(predicted)
    return labels if plan.extension is None else plan.extension.kept_labels(labels)

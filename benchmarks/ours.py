"""The package's step as its runs compute it, for benchmarks that take steps one by one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from atom_distill.distillation.matching_methods import MatchingMethod
from atom_distill.distillation.method import RunPlan
from atom_distill.distillation.optimizer import ImageOptimizer
from atom_distill.ops.preprocessing import Preprocessing


def step_function(plan: RunPlan, preprocessing: Preprocessing, images: Tensor) -> Callable[[int], float]:
    """Return a function that takes the step of a number, and returns its loss on this process.

    Args:
        plan: of the run; its pools are trained here, or read from the cache.
        preprocessing: between pixels and model space.
        images: initial images of all classes, in model space [M, C, H, W].
    """
    assert isinstance(plan.method, MatchingMethod)
    for pool in plan.pools:
        pool.train(preprocessing, plan.shard.ranks, show_progress=False)
    matching = plan.method.matching(plan, preprocessing)
    initial = plan.parameterization.encode(plan.shard.take(images))
    stored = {name: values.to(plan.execution.device).clone().requires_grad_() for name, values in initial.items()}
    optimizer = ImageOptimizer(stored, plan.settings, {})

    def step(index: int) -> float:
        loss = 0.0
        for parts in matching.gradients(stored, index):
            loss += float(parts.sum())  # a GPU has finished when this is known
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return step

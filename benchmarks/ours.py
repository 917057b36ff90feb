"""The package's step as its runs compute it, for benchmarks that take steps one by one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.matching_methods import MatchingMethod
from atom_distill.distillation.method import RunPlan
from atom_distill.distillation.optimize import real_images
from atom_distill.distillation.optimizer import ImageOptimizer
from atom_distill.distillation.step import MatchingStep
from atom_distill.ops.preprocessing import Preprocessing


def matching_step(plan: RunPlan, preprocessing: Preprocessing) -> MatchingStep:
    """Return what a planned run computes in a step."""
    assert isinstance(plan.method, MatchingMethod)
    objective = plan.method.objective(plan.method_settings)
    return MatchingStep(
        shard=plan.shard,
        sampler=real_images(plan, preprocessing),
        encoder=Encoder(plan.network, objective, plan.source, plan.execution),
        parameterization=plan.parameterization,
        operations=plan.settings.operations(),
        seed=plan.settings.seed,
        chunk=plan.execution.chunk,
    )


def step_function(plan: RunPlan, preprocessing: Preprocessing, images: Tensor) -> Callable[[int], float]:
    """Return a function that takes the step of a number, and returns its loss on this process.

    Args:
        plan: of the run.
        preprocessing: between pixels and model space.
        images: initial images of all classes, in model space [M, C, H, W].
    """
    matching = matching_step(plan, preprocessing)
    initial = plan.parameterization.encode(plan.shard.take(images))
    stored = {name: values.to(plan.execution.device).clone().requires_grad_() for name, values in initial.items()}
    optimizer = ImageOptimizer(stored, plan.settings, {})

    def step(index: int) -> float:
        loss = float(matching(stored, index).sum())  # a GPU has finished when this is known
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step

"""DC and DSA as methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atom_distill.base.errors import ConfigError
from atom_distill.config.distill import DistillConfig, MethodSettings
from atom_distill.distillation.method import Method, RunPlan, RunResult, RunStart


@dataclass(frozen=True, kw_only=True)
class GradientMethod(Method):
    """A method that matches the gradients of a network, and trains it on the images in between.

    Processes cannot share it: one network sees the images of all classes, update after update.
    """

    name: str
    title: str
    description: str
    paper: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unused: frozenset[str] = frozenset(
        {"chunk", "memory", "label_weight", "batch_synthetic", "batch_classes", "nested", "synthetic_dtype"}
    )
    shareable: bool = False

    def check(self, settings: DistillConfig, own: MethodSettings) -> None:
        """See `Method.check`."""
        if settings.ipc is None:
            raise ConfigError(
                f"{self.name} trains its network for a number of turns set by the ipc: give `ipc`, not `budget` or "
                "`bytes`, and no preset `best`, which counts bytes"
            )

    def distill(self, plan: RunPlan, start: RunStart, *, show_progress: bool) -> RunResult:
        """See `Method.distill`."""
        from atom_distill.distillation.gradient_matching import GradientMatchingStep
        from atom_distill.distillation.optimize import optimize, real_images
        from atom_distill.training.training_execution import TrainingExecution

        device, dtype = plan.execution.device, plan.execution.real_dtype
        step = GradientMatchingStep(
            real_images(plan, start.preprocessing, start.clusters),
            plan.network,
            plan.source,
            TrainingExecution(device, dtype, plan.execution.compiled, at_once=1),
            plan.parameterization,
            plan.settings.operations(),
            int(plan.rows_per_class[0]),
        )
        return optimize(step, plan, start, show_progress=show_progress)


DC = GradientMethod(
    name="dc",
    title="DC",
    description="Match the gradients of training (Zhao, Mopuri & Bilen, ICLR 2021).",
    paper="2006.05929",
    defaults={"steps": 1000, "batch_real": 256, "image_lr": 0.1, "augment": "none"},
)
DSA = GradientMethod(
    name="dsa",
    title="DSA",
    description="Match the gradients of training under the same augmentation (Zhao & Bilen, ICML 2021).",
    paper="2102.08259",
    defaults={"steps": 1000, "batch_real": 256, "image_lr": 0.1},
)

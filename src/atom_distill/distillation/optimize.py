"""Optimize the stored values of a planned run with what a method computes in a step."""

from __future__ import annotations

import statistics
from functools import partial

from atom_distill.artifact.training_set import TrainingSet
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.loop import Loop, Matching
from atom_distill.distillation.method import RunPlan, RunResult, RunStart
from atom_distill.distillation.metric_logger import MetricLogger
from atom_distill.distillation.real_clusters import RealClusters
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.snapshot_recorder import SnapshotRecorder
from atom_distill.distillation.soft_labels import soft_labels
from atom_distill.distillation.stored_form import finished, refits, refitted
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.ops.parameterization import Stored
from atom_distill.ops.preprocessing import Preprocessing

_READ_EVERY = 10
"""Steps after which a GPU is waited for."""


def optimize(matching: Matching, plan: RunPlan, start: RunStart, *, show_progress: bool) -> RunResult:
    """Run the loop to its end, and return the last values, and the best where they were evaluated.

    Args:
        matching: computes losses and gradients.
        plan: of the run.
        start: where the loop begins.
        show_progress: draw a bar.
    """
    settings, is_main = plan.settings, plan.shard.ranks.is_main
    writes_to = plan.out if is_main else None
    loop = Loop(
        matching=matching,
        shard=plan.shard,
        parameterization=plan.parameterization,
        config=settings,
        device=plan.execution.device,
        folder=plan.out,
        held_out_accuracy=partial(held_out_accuracy, plan, start.preprocessing) if settings.eval_every else None,
        recorder=_recorder(plan, start),
        refit=partial(refitted, plan) if refits(plan) else None,
        frozen=None if plan.extension is None else plan.shard.take(plan.extension.frozen).to(plan.execution.device),
        read_every=_READ_EVERY if plan.execution.device.type == "cuda" else 1,
        show_progress=show_progress,
    )
    with MetricLogger(writes_to, start.state.step, tensorboard=settings.tensorboard) as metrics:
        final = loop.run(start.state, metrics)
    return RunResult(final.result, final.step, final.seconds, metrics.entries, final.best)


def real_images(plan: RunPlan, preprocessing: Preprocessing, clusters: RealClusters | None = None) -> ClassSampler:
    """Return what draws the real images of each step."""
    return ClassSampler(
        plan.training,
        preprocessing,
        plan.settings.batch_real,
        plan.execution.device,
        plan.execution.real_dtype,
        plan.shard.classes,
        on_device=plan.settings.memory is None,
        clusters=clusters,
    )


def held_out_accuracy(plan: RunPlan, preprocessing: Preprocessing, stored: Stored) -> float:
    """Return the accuracy of networks trained on a set as a file would hold it, on held-out training images, percent.

    Where matching networks of several architectures take turns, it is the mean of theirs.
    """
    form, values = finished(plan, stored)
    images = form.decode(values)
    training_set = TrainingSet(images, class_labels(plan.images_per_class), soft_labels(plan, images))
    found = [
        _evaluation(plan, arch).of_images(training_set, preprocessing, plan.training).mean
        for arch in plan.settings.architectures
    ]
    return statistics.fmean(found)


def _evaluation(plan: RunPlan, arch: str) -> Evaluation:
    settings = plan.settings
    return Evaluation(
        arch=arch,
        shape=settings.network_shape(),
        repeats=settings.eval_repeats,
        protocol=PROTOCOLS.get("dm").changed(epochs=settings.eval_epochs),
        seed=settings.seed,
        device=plan.execution.device,
        ranks=plan.shard.ranks,
        show_progress=False,
    )


def _recorder(plan: RunPlan, start: RunStart) -> SnapshotRecorder | None:
    """Return what keeps snapshots, if any are wanted: a run without a folder has no place for them."""
    if plan.out is None or not plan.settings.snapshots:
        return None
    folder = plan.out if plan.shard.ranks.is_main else None
    return SnapshotRecorder(
        folder, plan.settings.snapshots, plan.images_per_class, start.preprocessing, start.state.step
    )

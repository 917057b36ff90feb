"""A whole run: plan, prepare, distill, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from atom_distill.artifact import folder as files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, load_scores
from atom_distill.base.errors import ArtifactError
from atom_distill.base.progress import note
from atom_distill.base.record import numerical_differences, run_record
from atom_distill.base.writable import require_writable
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.initial_images import initial_images
from atom_distill.distillation.method import RunPlan, RunResult, RunStart
from atom_distill.distillation.real_clusters import RealClusters
from atom_distill.distillation.run_state import RunState, last_step, load_newest_checkpoint
from atom_distill.distillation.soft_labels import soft_labels
from atom_distill.distillation.stored_form import finished, fitted_form, restored_form, rounded_form
from atom_distill.ops.parameterization import Stored
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.training.embeddings import Embeddings
from atom_distill.training.reference_network import ReferenceRecipe, reference_network

_CLUSTERS_FILE = "real-clusters.safetensors"
_REFERENCE_EPOCHS = 10
"""Epochs of the network on which initial images rest where there is no pool; the selections' default."""


def run(plan: RunPlan, *, resume: bool = False, show_progress: bool = True) -> DistilledDataset:
    """Distill a data set as planned; all ranks of the plan call this.

    Args:
        plan: made by `planning.plan_run`, with the same `resume`.
        resume: continue the run in the plan's folder if there is one.
        show_progress: draw a bar.

    Raises:
        AtomError: the folder is in use or damaged, the run is interrupted, or its loss is not finite.
    """
    out, ranks = plan.out, plan.shard.ranks
    with ExitStack() as uses:
        if out is not None:
            ranks.broadcast_from_rank0(lambda: uses.enter_context(files.sole_use(out, resume=resume)))
        return _run(plan, show_progress=show_progress)


def _run(plan: RunPlan, *, show_progress: bool) -> DistilledDataset:
    out, ranks = plan.out, plan.shard.ranks
    if out is not None and ranks.broadcast_from_rank0(lambda: _is_finished(plan, out)):
        note(f"{out} is finished: it has its {plan.steps} steps" if plan.steps else f"{out} is finished")
        return ranks.run_on_all(lambda: DistilledDataset.load(out))
    started = time.monotonic()
    record = ranks.broadcast_from_rank0(lambda: _begin(plan))
    preprocessing = ranks.broadcast_from_rank0(lambda: _preprocessing(plan))
    if plan.pools:
        before = time.monotonic()
        for pool in plan.pools:
            pool.train(preprocessing, ranks, show_progress=show_progress)
        started += time.monotonic() - before  # the pool has a time of its own, whether it was cached or not
        record = {**record, "pool_seconds": _pool_seconds(plan)}
    embeddings = cache(partial(_embeddings, plan, preprocessing, show_progress=show_progress))
    state = ranks.broadcast_from_rank0(lambda: _state(plan, preprocessing, embeddings))
    if state.form:
        plan = replace(plan, parameterization=restored_form(plan, state.form))
    clusters = None
    if plan.settings.real_batches == "k-means" and plan.method.takes_steps:
        clusters = ranks.broadcast_from_rank0(lambda: _clusters(plan, embeddings))
    start = RunStart(preprocessing, state, clusters)
    started -= state.seconds
    result = plan.method.distill(plan, start, show_progress=show_progress)
    distilled = _as_set(plan, start.preprocessing, {**record, **result.record}, result)
    if plan.settings.soft_labels:
        distilled = _with_soft_labels(distilled, plan)
    if plan.extension is not None:
        distilled = distilled.with_measured_size()
    # All but the pool; of a resumed run, the steps of the earlier processes included.
    distilled.record = {**distilled.record, "run_seconds": round(time.monotonic() - started, 1)}
    if out is not None:
        distilled.scores, distilled.history = ranks.broadcast_from_rank0(lambda: _write(distilled, out))
        distilled.folder = out
    return distilled


def _pool_seconds(plan: RunPlan) -> float | None:
    """Return the time of the training of all pools; None where a file lacks it."""
    found = [pool.seconds() for pool in plan.pools]
    known = [seconds for seconds in found if seconds is not None]
    return round(sum(known), 1) if len(known) == len(found) else None


def _is_finished(plan: RunPlan, out: Path) -> bool:
    """Return whether the folder holds the whole result already."""
    load_scores(out)  # if they are damaged, the user learns it now and not after the last step
    return files.is_finished(out, plan.steps)


def _begin(plan: RunPlan) -> Mapping[str, Any]:
    """Write the config, which marks the folder as this run's whatever happens next, and return the run's record."""
    source = Path(str(plan.dataset.request.get("name_or_path", "")))
    if plan.out is not None and source.is_absolute() and plan.out.resolve().is_relative_to(source):
        note(f"{plan.out} lies in the folder of the data: being a run, it is not taken for data")
    method = {"title": plan.method.title, "paper": plan.method.paper, "unused": sorted(plan.method.unused)}
    record: Mapping[str, Any] = {**run_record(plan.execution.device), "method": method}
    if plan.extension is not None:
        record = {**record, "extended": plan.extension.record}
    if plan.out is None:
        return record
    if files.holds_run(plan.out):
        require_writable(plan.out, "out")
        stored = files.load_config(plan.out)["record"]
        if _but_place(stored.get("extended")) != _but_place(record.get("extended")):
            raise ArtifactError(f"{plan.settings.extended_run} is another set than when the run in {plan.out} began")
        _note_differences(plan.out, stored, record)
        record = {"method": method, **stored}
    files.save_config(plan.out, settings=plan.all_settings, dataset=plan.dataset.identity(), record=record)
    return record


def _but_place(extended: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a record says of a set that is extended, but for its folder, which may be moved."""
    return {name: value for name, value in (extended or {}).items() if name != "folder"}


def _note_differences(out: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Print what keeps the rest of a resumed run from equaling an uninterrupted one bit for bit."""
    different = numerical_differences(stored, now)
    if different and last_step(out):
        told = "; ".join(different)
        note(f"resuming with {told}: the result may differ from that of an uninterrupted run by rounding")


def _state(plan: RunPlan, preprocessing: Preprocessing, embeddings: Callable[[], Embeddings]) -> RunState:
    """Return the newest checkpoint or the initial values."""
    state = load_newest_checkpoint(plan.out, int(plan.rows_per_class.sum())) if plan.out is not None else None
    state = state or _initial_state(plan, preprocessing, embeddings)
    return replace(state, images_per_class=plan.images_per_class)


def _initial_state(plan: RunPlan, preprocessing: Preprocessing, embeddings: Callable[[], Embeddings]) -> RunState:
    """Return the values before the first step, and what they are fitted to; no values where there are no steps."""
    form = fitted_form(plan, preprocessing)
    if not plan.method.takes_steps:  # the images are those that it chooses, and the rounding is fitted to them
        return RunState(0, {}, form=form.tensors())
    init, seed, per_class = plan.settings.init, plan.settings.seed, plan.images_per_class
    images = initial_images(
        plan.training, preprocessing, init=init, per_class=per_class, seed=seed, embeddings=embeddings
    )
    stored = form.encode(images)
    if plan.extension is not None:
        stored = plan.extension.beginning(form, stored)
    return RunState(0, stored, form=rounded_form(plan, form, stored).tensors())


def _clusters(plan: RunPlan, embeddings: Callable[[], Embeddings]) -> RealClusters:
    """Load the run's clusters of real images, or make them; kept, since another machine may cluster otherwise."""
    path = None if plan.out is None else plan.out / _CLUSTERS_FILE
    if path is not None and path.exists():
        return RealClusters.from_tensors(files.load_checked(path)[0])
    settings = plan.settings
    clusters = RealClusters.of(plan.training, embeddings(), settings.batch_real, settings.seed)
    if path is not None:
        files.save_checked(path, clusters.tensors(), {})
    return clusters


def _embeddings(plan: RunPlan, preprocessing: Preprocessing, *, show_progress: bool) -> Embeddings:
    """Return the embeddings of training images in the first network of the first pool, or in the reference network."""
    settings, device = plan.settings, plan.execution.device
    if plan.pool is not None:
        return plan.pool.embeddings(preprocessing)
    recipe = ReferenceRecipe(
        settings.architectures[0], settings.network_shape(), _REFERENCE_EPOCHS, settings.seed, device
    )
    return reference_network(plan.training, preprocessing, recipe, show_progress=show_progress).embeddings


def _preprocessing(plan: RunPlan) -> Preprocessing:
    """Load the run's transform, or take that of the set that is extended, or fit it on all training images."""
    if plan.out is not None and files.has_preprocessing(plan.out):
        return files.load_preprocessing(plan.out)
    if plan.extension is not None:
        preprocessing = plan.extension.base.preprocessing
    else:
        preprocessing = fit_preprocessing(plan.settings.preprocess, plan.dataset)
    if plan.out is not None:
        files.save_preprocessing(plan.out, preprocessing)
    return preprocessing


def _as_set(
    plan: RunPlan, preprocessing: Preprocessing, record: Mapping[str, Any], result: RunResult
) -> DistilledDataset:
    """Return the result as a set, with the best one beside it where there is one."""

    def made(stored: Stored, steps: int) -> DistilledDataset:
        form, values = finished(plan, {name: tensor.detach().cpu() for name, tensor in stored.items()})
        return DistilledDataset(
            stored=values,
            parameterization=form,
            row_labels=class_labels(plan.rows_per_class),
            class_names=plan.dataset.class_names,
            preprocessing=preprocessing,
            settings=plan.all_settings,
            dataset=plan.dataset.identity(),
            record={**record, "seconds": round(result.seconds, 1)},
            history=result.history,
            steps=steps,
        )

    distilled = made(result.stored, result.steps)
    if result.best is not None:
        distilled.best = replace(made(result.best.stored, result.best.step), which="best")
    return distilled


def _with_soft_labels(distilled: DistilledDataset, plan: RunPlan) -> DistilledDataset:
    """Return the set, and the best one beside it, with their soft labels."""
    best = None if distilled.best is None else _with_soft_labels(distilled.best, plan)
    return replace(distilled, soft_labels=soft_labels(plan, distilled.images), best=best)


def _write(distilled: DistilledDataset, out: Path) -> tuple[list[Score], Sequence[Mapping[str, Any]]]:
    """Write the set, and return the scores that the folder had before, and the whole history."""
    distilled.write_into(out)
    return distilled.scores, distilled.history

"""A whole run: folder, preprocessing, loop, artifact."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from atom_distill.artifact import folder as files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, load_scores
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.config.distill import DistillConfig
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.gradient_matching import GradientMatching, GradientMatchingStep
from atom_distill.distillation.images_per_class import class_labels, images_per_class
from atom_distill.distillation.initial_images import initial_images
from atom_distill.distillation.loop import Loop, Matching
from atom_distill.distillation.matching_execution import MatchingExecution, plan_execution
from atom_distill.distillation.methods import METHODS
from atom_distill.distillation.metric_logger import MetricLogger
from atom_distill.distillation.run_state import RunState, load_newest_checkpoint
from atom_distill.distillation.sampler import ClassSampler
from atom_distill.distillation.selection_methods import Candidates, Selection
from atom_distill.distillation.settings import matching_network, note_unused, settled, training_images
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.snapshot_recorder import SnapshotRecorder
from atom_distill.distillation.step import MatchingStep
from atom_distill.models.batch_norm import mixes_images, synchronized
from atom_distill.models.network import Network
from atom_distill.ops.matching import StatisticsOf
from atom_distill.ops.preprocessing import Preprocessing
from atom_distill.processes.ranks import current_ranks, require_device_for_each
from atom_distill.training.training_execution import TrainingExecution

Judge = Callable[[DistilledDataset, ImageDataset, DistillConfig], float]
"""From a set, held-out real images (as a test split) and settings to accuracy, percent."""


def run(
    dataset: ImageDataset,
    given: Mapping[str, Any],
    *,
    out: Path | None,
    resume: bool,
    judge: Judge,
    show_progress: bool = True,
) -> DistilledDataset:
    """Distill a data set; where torchrun started several processes, all of them together.

    Args:
        dataset: to distill.
        given: settings by name; at least ipc or budget, unless a run is resumed.
        out: the run's folder; None keeps the result in memory.
        resume: go on with the run in `out` if there is one.
        judge: evaluates on held-out images where `eval_every` asks for it.
        show_progress: draw a bar.

    Raises:
        AtomError: settings, data or folder do not allow it; nothing was changed.
    """
    everyone = current_ranks()
    config = everyone.broadcast_from_rank0(lambda: settled(dataset, given, out, resume=resume))
    everyone.run_on_all(lambda: require_device_for_each(pick_device(config.device), everyone))
    recipe = METHODS.get(config.method)(config)
    training = training_images(dataset, config, recipe)
    network = matching_network(training, config, recipe)
    shard = Shard(everyone, images_per_class(training, config.ipc, config.budget))
    if isinstance(recipe, GradientMatching) and everyone.size > 1:
        raise ConfigError(
            f"{config.method} trains one network on the images of all classes, update after update, which processes "
            "cannot share: start it without torchrun"
        )
    if everyone.size > 1 and mixes_images(network):
        synchronized(network, pick_device(config.device))
    note_unused(given, config)
    steps = 0 if isinstance(recipe, Selection) else config.steps
    if out is not None and everyone.broadcast_from_rank0(lambda: _is_finished(out, steps, resume=resume)):
        note(f"{out} is finished: it has its {steps} steps" if steps else f"{out} is finished")
        return everyone.run_on_all(lambda: DistilledDataset.load(out))
    prepared = everyone.broadcast_from_rank0(lambda: _prepare(dataset, training, config, out, shard.per_class))
    if isinstance(recipe, Selection):
        distilled = everyone.broadcast_from_rank0(
            lambda: _select(recipe, training, prepared, config, show_progress=show_progress)
        )
    else:
        matching = _matching(network, recipe, training, prepared, config, shard)
        distilled = _optimize(matching, shard, training, prepared, config, out, judge, show_progress)
    if out is not None:
        distilled.scores, distilled.history = everyone.broadcast_from_rank0(lambda: _write(distilled, out))
        distilled.folder = out
    return distilled


def _is_finished(out: Path, steps: int, *, resume: bool) -> bool:
    """Take the folder, and say whether it holds the whole result already."""
    files.enter(out) if resume else files.claim(out)
    load_scores(out)  # if they are damaged, say so now and not after the last step
    return files.is_finished(out, steps)


def _write(distilled: DistilledDataset, out: Path) -> tuple[list[Score], Sequence[Mapping[str, Any]]]:
    """Write the set, and give what the folder had of it before."""
    distilled.scores = load_scores(out)
    distilled.write_into(out)
    return distilled.scores, distilled.history


@dataclass(frozen=True)
class _Prepared:
    """What a run needs before its first step."""

    preprocessing: Preprocessing
    execution: MatchingExecution
    state: RunState
    dataset: Mapping[str, Any]
    record: Mapping[str, Any]
    class_names: tuple[str, ...]
    per_class: Tensor

    def as_set(self, images: Tensor, config: DistillConfig, steps: int) -> DistilledDataset:
        """Make an artifact of images in model space."""
        return DistilledDataset(
            images=images.cpu(),
            labels=class_labels(self.per_class),
            class_names=self.class_names,
            preprocessing=self.preprocessing,
            settings=config.model_dump(),
            dataset=self.dataset,
            record=self.record,
            steps=steps,
        )


def _select(
    selection: Selection, training: ImageDataset, prepared: _Prepared, config: DistillConfig, *, show_progress: bool
) -> DistilledDataset:
    """Choose real images; the artifact says which, and by what."""
    started = time.monotonic()
    candidates = Candidates(training, prepared.preprocessing, config, show_progress=show_progress)
    chosen = selection.choose(candidates)
    distilled = prepared.as_set(prepared.preprocessing.apply(training.train.images[chosen]), config, steps=0)
    how = {"indices": chosen.tolist(), **candidates.description}
    seconds = round(time.monotonic() - started, 1)
    return replace(distilled, record={**prepared.record, "selection": how, "seconds": seconds})


def _matching(
    network: Network,
    recipe: StatisticsOf | GradientMatching,
    training: ImageDataset,
    prepared: _Prepared,
    config: DistillConfig,
    shard: Shard,
) -> Matching:
    """Build what computes the steps."""
    execution = prepared.execution
    device, dtype = execution.device, execution.real_dtype
    sampler = ClassSampler(
        training,
        prepared.preprocessing,
        config.batch_real,
        device,
        dtype,
        shard.classes,
        on_device=config.memory is None,
    )
    if isinstance(recipe, GradientMatching):
        assert config.ipc is not None  # settings without it were refused
        plan = TrainingExecution(device, dtype, execution.compiled, at_once=1)
        return GradientMatchingStep(sampler, network, plan, config.operations(), config.ipc, config.seed)
    mixing = mixes_images(network)  # timm's do it unasked
    if mixing and shard.ranks.size > 1:
        execution = replace(execution, compiled=False)  # what is compiled cannot wait for other processes
    whole = training.num_classes * config.batch_real + config.images(training.num_classes)
    return MatchingStep(
        shard=shard,
        sampler=sampler,
        encoder=Encoder(network, recipe, execution),
        operations=config.operations(),
        seed=config.seed,
        chunk=whole if mixing else execution.chunk,
    )


def _optimize(
    matching: Matching,
    shard: Shard,
    training: ImageDataset,
    prepared: _Prepared,
    config: DistillConfig,
    out: Path | None,
    judge: Judge,
    show_progress: bool,
) -> DistilledDataset:
    """Run the loop and make an artifact of its last images, and of the best where it judged them."""

    def held_out_accuracy(images: Tensor) -> float:
        return judge(prepared.as_set(images, config, 0), training, config)

    recorder = _recorder(shard, prepared, config, out)
    loop = Loop(matching, shard, config, prepared.execution.device, out, held_out_accuracy, recorder, show_progress)
    with MetricLogger(out if shard.ranks.is_main else None, resumed_at=prepared.state.step) as metrics:
        final = loop.run(prepared.state, metrics)
    prepared = replace(prepared, record={**prepared.record, "seconds": round(final.seconds, 1)})
    distilled = prepared.as_set(final.result, config, final.step)
    distilled.history = metrics.entries
    if final.best is not None:
        distilled.best = prepared.as_set(final.best.images, config, final.best.step)
        distilled.best.which = "best"
    return distilled


def _recorder(shard: Shard, prepared: _Prepared, config: DistillConfig, out: Path | None) -> SnapshotRecorder | None:
    """Make what takes pictures on the way, if any are to be taken: a run without a folder has no place for them."""
    if out is None or not config.snapshots:
        return None
    folder = out if shard.ranks.is_main else None
    return SnapshotRecorder(folder, config.snapshots, prepared.per_class, prepared.preprocessing, prepared.state.step)


def _prepare(
    dataset: ImageDataset, training: ImageDataset, config: DistillConfig, out: Path | None, per_class: Tensor
) -> _Prepared:
    execution = plan_execution(config, dataset.image_shape, dataset.num_classes)
    record: Mapping[str, Any] = run_record()
    description = dataset.identity()
    if out is not None:
        if files.holds_run(out):
            record = files.load_config(out)["record"]
        # The config comes first: it marks the folder as this run's, whatever happens next.
        files.save_config(out, settings=config.model_dump(), dataset=description, record=record)
    preprocessing = _preprocessing(dataset, config, out)
    state = load_newest_checkpoint(out) if out is not None else None
    if state is None:
        first = initial_images(training, preprocessing, init=config.init, per_class=per_class, seed=config.seed)
        state = RunState(0, first)
    return _Prepared(preprocessing, execution, state, description, record, dataset.class_names, per_class)


def _preprocessing(dataset: ImageDataset, config: DistillConfig, out: Path | None) -> Preprocessing:
    """Read the run's transform, or fit it on all training images: it sees no labels and favors nothing."""
    if out is not None and files.has_preprocessing(out):
        return files.load_preprocessing(out)
    preprocessing = fit_preprocessing(config.preprocess, dataset)
    if out is not None:
        files.save_preprocessing(out, preprocessing)
    return preprocessing

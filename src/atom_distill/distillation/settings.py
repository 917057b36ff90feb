"""The settings of a run: new ones settled, a stopped run's read again, and what they mean checked against the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from atom_distill.artifact import folder as files
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.peak_memory import held_bytes
from atom_distill.base.progress import note
from atom_distill.config.distill import CHANGEABLE_ON_RESUME, EXECUTION, DistillConfig
from atom_distill.config.presets import Resolved, SetFacts, resolve, validated
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.subset import hold_out, require_images
from atom_distill.distillation.gradient_matching import GradientMatching
from atom_distill.distillation.images_per_class import images_per_class
from atom_distill.distillation.matching_execution import MatchingExecution, plan_execution
from atom_distill.distillation.memory_limit import Demand, affordable_chunk, footprint
from atom_distill.distillation.methods import METHODS, Recipe, unused_settings
from atom_distill.distillation.run_state import last_step
from atom_distill.distillation.selection_methods import Selection
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.processes.ranks import current_ranks


def settings_for(dataset: ImageDataset, given: Mapping[str, Any]) -> Resolved:
    """Give the final settings of a run and where each came from, without running it.

    Raises:
        ConfigError, UnknownNameError: the settings do not hold together.
    """
    resolved = resolve(_facts(dataset), given)
    config = resolved.config
    recipe = METHODS.get(config.method)(config)
    matching_network(training_images(dataset, config, recipe), config, recipe)
    execution = plan_execution(config, dataset.image_shape, dataset.num_classes)
    _within_memory(dataset, config, execution)
    return resolved


def settled(dataset: ImageDataset, given: Mapping[str, Any], out: Path | None, *, resume: bool) -> DistillConfig:
    """Settle every setting, those left to the machine included, so that the run can be continued exactly.

    Args:
        dataset: to distill.
        given: settings by name.
        out: the run's folder, if it has one.
        resume: go on with the run in `out` if there is one.

    Raises:
        ConfigError, UnknownNameError: the settings do not hold together.
        ArtifactError: the run in `out` is another one.
    """
    if resume:
        if out is None:
            raise ConfigError("--resume needs the run's folder: give it with --out")
        if files.holds_run(out):
            return _resumed_config(dataset, given, out)
        if given.keys() & {"ipc", "budget"}:
            note(f"{out} holds no run yet; starting one")
        else:
            raise ConfigError(f"{out} holds no run to go on with; to start one there, give --ipc N or --budget M")
    config = resolve(_facts(dataset), given).config
    execution = plan_execution(config, dataset.image_shape, dataset.num_classes)
    return config.model_copy(
        update={
            "device": str(execution.device),
            "real_dtype": str(execution.real_dtype).removeprefix("torch."),
            "compile": "on" if execution.compiled else "off",
            "chunk": _within_memory(dataset, config, execution),
        }
    )


def _within_memory(dataset: ImageDataset, config: DistillConfig, execution: MatchingExecution) -> int:
    """Give the execution's chunk, or the one that the budget of memory allows where there is one."""
    recipe = METHODS.get(config.method)(config)
    if config.memory is None or isinstance(recipe, Selection | GradientMatching):
        return execution.chunk
    with torch.device("meta"):  # sizes without memory
        shape = NetworkShape(**config.network_shape())
        network = build_model(config.arch, dataset.image_shape, dataset.num_classes, shape)
    demand = Demand(
        image_shape=dataset.image_shape,
        per_class=images_per_class(dataset, config.ipc, config.budget),
        real=dataset.class_sizes().clamp_max(config.batch_real),
        ranks=current_ranks().size,
        whitened=config.preprocess == "zca",
        compiled=execution.compiled,
    )
    held = 0 if execution.device.type == "cuda" else held_bytes()
    of_one = footprint(network, recipe, dataset.image_shape)
    chunk = affordable_chunk(config.memory, network, of_one, demand, held=held)
    if chunk < config.chunk:
        note(f"--chunk {config.chunk} is more than --memory {config.memory:g} allows: it is {chunk}")
    return min(chunk, execution.chunk)


def _resumed_config(dataset: ImageDataset, given: Mapping[str, Any], out: Path) -> DistillConfig:
    stored = files.load_config(out)
    if "imported" in stored["record"]:
        raise ArtifactError(f"{out} was imported, so there is no run in it to go on with; give another --out")
    fingerprint = stored["dataset"].get("fingerprint")
    if fingerprint != dataset.fingerprint:
        asked = ", ".join(f"{name} {value}" for name, value in stored["dataset"].get("request", {}).items())
        raise ArtifactError(
            f"{out} was started on another data set, {stored['dataset'].get('name')} ({asked or 'made in memory'}); "
            "resume with the same data options, or give another --out"
        )
    changes = {
        name: value
        for name, value in given.items()
        if value != stored["settings"].get(name) and not _left_to_machine(name, value)
    }
    moved = sorted(EXECUTION & changes.keys())
    if moved:
        note(
            f"resuming with another {', '.join(moved)}: the result will differ from an uninterrupted run's by rounding"
        )
    fixed = {name: value for name, value in changes.items() if name not in CHANGEABLE_ON_RESUME | EXECUTION}
    if fixed:
        told = ", ".join(f"{name} {stored['settings'].get(name)}, not {value}" for name, value in fixed.items())
        raise ArtifactError(f"{out} holds another run ({told}); resume with its settings, or give another --out")
    config = validated(DistillConfig, {**stored["settings"], **changes})
    if "memory" in changes and "chunk" not in changes:
        anew = plan_execution(config.model_copy(update={"chunk": 0}), dataset.image_shape, dataset.num_classes)
        config = config.model_copy(update={"chunk": _within_memory(dataset, config, anew)})
    done = last_step(out)
    if config.steps < done:
        raise ArtifactError(f"{out} has done {done} steps already; give --steps {done} or more, or another --out")
    return config


def _left_to_machine(name: str, value: object) -> bool:
    """Say whether a setting asks for what the run has settled on: the same command may resume it."""
    return name in EXECUTION and value in ("auto", 0)


def training_images(dataset: ImageDataset, config: DistillConfig, recipe: Recipe) -> ImageDataset:
    """Give the images to distill; where the run is to be judged on some, those are its test split."""
    if config.eval_every and not isinstance(recipe, Selection):
        return hold_out(dataset, config.holdout, config.seed)
    return dataset


def matching_network(dataset: ImageDataset, config: DistillConfig, recipe: Recipe) -> Network:
    """Build the network that the settings name.

    Raises:
        ConfigError, UnknownNameError: there is none such, or the classes have too few images to begin with.
    """
    shape = NetworkShape(**config.network_shape())
    network = build_model(config.arch, dataset.image_shape, dataset.num_classes, shape)
    per_class = images_per_class(dataset, config.ipc, config.budget)
    if isinstance(recipe, GradientMatching) and config.ipc is None:
        raise ConfigError(f"{config.method} trains its network for so many turns at an ipc: give --ipc, not --budget")
    if isinstance(recipe, Selection):
        require_images(dataset, per_class, otherwise=", or --budget M in all")
    elif config.init == "real":
        require_images(dataset, per_class, otherwise=", or --init noise, or --budget M in all")
    return network


def note_unused(given: Mapping[str, Any], config: DistillConfig) -> None:
    """Say which of the given settings the method has no use for."""
    defaults = DistillConfig.model_fields
    idle = unused_settings(METHODS.get(config.method)(config), config) & given.keys()
    unused = [name for name in idle if given[name] != defaults[name].default]
    if unused:
        note(f"{config.method} has no use for {', '.join(sorted(unused))}")


def _facts(dataset: ImageDataset) -> SetFacts:
    return SetFacts(dataset.image_shape, dataset.num_classes, len(dataset.train))

"""Plan a run: resolve new settings or read those of a stopped run, and check them against the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atom_distill.artifact import folder as files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ArtifactError, ConfigError
from atom_distill.base.optional import require
from atom_distill.base.progress import note
from atom_distill.config.distill import CHANGEABLE_ON_RESUME, EXECUTION, DistillConfig
from atom_distill.config.presets import SetFacts, size_in_bytes
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.original import asked_for, difference_from
from atom_distill.data.subset import held_out_images, hold_out, require_images
from atom_distill.distillation.extension import Extension, preprocessed_by, taken_settings
from atom_distill.distillation.images_per_class import images_per_class
from atom_distill.distillation.matching_execution import MatchingExecution, plan_execution
from atom_distill.distillation.method import ChunkRequest, EncoderPlan, Method, RunPlan
from atom_distill.distillation.methods import find_method
from atom_distill.distillation.network_sources import build_network_source
from atom_distill.distillation.resolve import Resolved, require_known, resolve, validated_pair
from atom_distill.distillation.run_state import last_step
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.stored_form import require_room
from atom_distill.models.batch_norm import mixes_images, synchronized
from atom_distill.models.build import build_model
from atom_distill.ops.parameterization import Parameterization, build_parameterization
from atom_distill.processes.ranks import Ranks, require_device_for_each
from atom_distill.training.pool import Pool, PoolRecipe

_EXTENDING = ("extend", "add_classes")
"""Settings that name the run of a finished set."""


def plan_run(
    dataset: ImageDataset, given: Mapping[str, Any], *, out: Path | None = None, resume: bool = False, ranks: Ranks
) -> RunPlan:
    """Return the plan of a run; nothing is written.

    Args:
        dataset: to distill.
        given: settings by name; at least ipc, budget or bytes, unless a run is resumed.
        out: the run's folder; None keeps the result in memory.
        resume: continue the run in `out` if there is one.
        ranks: the processes that work on it; all of them call this.

    Raises:
        ConfigError, UnknownNameError: the settings do not hold together, or not with the data.
        ArtifactError: the run in `out` is another one.
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    given = _with_whole_path(given)
    resolved = ranks.broadcast_from_rank0(lambda: _settings(dataset, given, out, resume=resume, ranks=ranks.size))
    settings = resolved.general
    if settings.tensorboard:  # here, and not where it writes: a pool may be trained for an hour before
        require("tensorboard", extra="tensorboard", caller="`tensorboard=True`")
    ranks.run_on_all(lambda: require_device_for_each(pick_device(settings.device), ranks))
    method = find_method(settings.method)
    method.check(settings, resolved.own)
    if ranks.size > 1 and not method.shareable:
        raise ConfigError(
            f"{method.name} trains one network on the images of all classes, update after update, which processes "
            "cannot share: start it without torchrun"
        )
    if len(settings.architectures) > 1 and not method.takes_turns:
        raise ConfigError(f"{method.name} has one network: give `arch` one architecture, not {settings.arch}")
    training = _training_images(dataset, settings, method)
    parameterization = build_parameterization(settings.form, dataset.image_shape)
    if settings.bytes is not None and settings.extended_run is None:
        require_room(settings, parameterization, dataset.num_classes)
    execution = plan_execution(settings, dataset.image_shape, dataset.num_classes, parameterization.images_per_row)
    shard = Shard(ranks, images_per_class(training, settings.rows_per_class, settings.budget))
    extension = ranks.run_on_all(lambda: _extension(dataset, settings, method, shard.rows_per_class))
    if extension is not None and settings.users_of_pool:
        training = preprocessed_by(extension.base, dataset, training)
    encoders = tuple(_encoder(arch, training, settings, method, execution.device) for arch in settings.architectures)
    for encoder in encoders:
        if ranks.size > 1 and mixes_images(encoder.network):
            if settings.classes_in_step(training.num_classes) < training.num_classes:
                raise ConfigError(
                    "`batch_classes` leaves some processes without a class, and the others, whose network normalizes "
                    "over the batch, would wait for them: start one process, or give another architecture or norm "
                    "(e.g. `norm=instance`)"
                )
            synchronized(encoder.network, execution.device)
    _require_initial_images(training, settings, method, shard.rows_per_class, parameterization.images_per_row)
    return RunPlan(
        settings=settings,
        method=method,
        method_settings=resolved.own,
        origins=resolved.origins,
        dataset=dataset,
        training=training,
        encoders=encoders,
        parameterization=parameterization,
        execution=execution,
        shard=shard,
        extension=extension,
        out=out,
    )


def _settings(
    dataset: ImageDataset, given: Mapping[str, Any], out: Path | None, *, resume: bool, ranks: int
) -> Resolved:
    """Return the final settings of a new or resumed run, nothing in them left to the machine."""
    if resume:
        if out is None:
            raise ConfigError("`resume` needs the run's folder: give it with `out`")
        if files.holds_run(out):
            return _resumed(dataset, given, out, ranks)
        if given.keys() & {"ipc", "budget", "bytes", *_EXTENDING}:
            note(f"{out} holds no run yet; starting one")
        else:
            raise ConfigError(f"{out} holds no run to resume; to start one there, give `ipc`, `budget` or `bytes`")
    return _for_this_machine(dataset, _resolved(dataset, given), ranks)


def _resolved(dataset: ImageDataset, given: Mapping[str, Any]) -> Resolved:
    """Return the settings of a new run, those among them that it takes from the set that it extends."""
    folders = [given[name] for name in _EXTENDING if given.get(name)]
    if len(folders) > 1:
        raise ConfigError("`extend` adds images and `add_classes` classes: give one, and the other in a second run")
    taken = taken_settings(DistilledDataset.load(folders[0]), dataset, given) if folders else None
    return resolve(_facts(dataset, given), given, taken)


def _with_whole_path(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings in which the path of a run to extend does not depend on the present folder."""
    found = {name: path for name in _EXTENDING if isinstance(path := given.get(name), str | Path)}
    return {**given, **{name: str(Path(path).resolve()) for name, path in found.items()}}


def _extension(dataset: ImageDataset, settings: DistillConfig, method: Method, rows: Tensor) -> Extension | None:
    """Return the finished set that the run extends, if it does."""
    if settings.extended_run is None:
        return None
    if not method.takes_steps:
        name = "extend" if settings.extend else "add_classes"
        raise ConfigError(f"{method.name} chooses real images anew: `{name}` is for methods that optimize images")
    base = DistilledDataset.load(settings.extended_run)
    if settings.bytes is not None and not base.settings.get("bytes"):
        raise ConfigError(
            f"{base.folder} is a set of {len(base)} images, whose form stays as it is: extend it by images (`ipc`), "
            "and not by `bytes` or with the preset best, which makes bytes of a number of images"
        )
    return Extension.of(base, dataset.class_names, rows)


def _facts(dataset: ImageDataset, given: Mapping[str, Any]) -> SetFacts:
    """Return what defaults depend on; of the smallest class, only the images that a run distills are counted."""
    smallest = int(dataset.class_sizes().min())
    if given.get("eval_every") and smallest > 1:
        asked, usual = given.get("holdout"), DistillConfig.model_fields["holdout"].default
        share = asked if isinstance(asked, float) and 0 < asked < 1 else usual  # any other is refused later
        smallest -= held_out_images(smallest, share)
    return SetFacts(dataset.image_shape, dataset.num_classes, len(dataset.train), smallest)


def _for_this_machine(dataset: ImageDataset, resolved: Resolved, ranks: int) -> Resolved:
    """Replace what is left to the machine by what it means here, so that the run can be continued exactly."""
    settings = resolved.general
    parameterization = build_parameterization(settings.form, dataset.image_shape)
    execution = plan_execution(settings, dataset.image_shape, dataset.num_classes, parameterization.images_per_row)
    final = settings.model_copy(
        update={
            "device": str(execution.device),
            "real_dtype": str(execution.real_dtype).removeprefix("torch."),
            "synthetic_dtype": str(execution.synthetic_dtype).removeprefix("torch."),
            "compile": "on" if execution.compiled else "off",
            "chunk": _chunk(dataset, resolved, parameterization, execution, ranks),
        }
    )
    decided = {name: "machine" for name in EXECUTION if getattr(final, name) != getattr(settings, name)}
    return Resolved(final, resolved.own, {**resolved.origins, **decided})


def _chunk(
    dataset: ImageDataset,
    resolved: Resolved,
    parameterization: Parameterization,
    execution: MatchingExecution,
    ranks: int,
) -> int:
    """Return how many images a forward pass may have, under the memory limit if there is one."""
    settings = resolved.general
    if settings.memory is None:
        return execution.chunk
    method = find_method(settings.method)
    training = _training_images(dataset, settings, method)
    rows = images_per_class(training, settings.rows_per_class, settings.budget)
    request = ChunkRequest(settings, execution, training, parameterization, rows, ranks)
    return method.largest_chunk(request, resolved.own)


def _resumed(dataset: ImageDataset, given: Mapping[str, Any], out: Path, ranks: int) -> Resolved:
    """Return the settings of a stopped run, with those changes that a resumed run may have."""
    stored = files.load_config(out)
    if "imported" in stored["record"]:
        raise ArtifactError(f"{out} was imported, so there is no run in it to resume; give another `out`")
    _require_same_data(dataset, stored["dataset"], out)
    before = {name: value for name, value in stored["settings"].items() if value is not None}
    general, own = validated_pair(find_method(str(before.get("method"))), before)
    values = {**general.model_dump(), **own.model_dump()}
    require_known(given, find_method(general.method))
    # The command that started a run also resumes it: of a number of images, the preset may have made bytes.
    others, size = size_in_bytes(_facts(dataset, given), {**given, "preset": general.preset})
    if size:
        given = {**others, **size}
    changes = {
        name: value
        for name, value in given.items()
        if name in values and value not in (None, values[name]) and not _asks_for_auto_again(name, value)
    }
    # A set that is extended may have been moved; whether it is the same one, its checksum says when the run goes on.
    movable = {name for name in _EXTENDING if values.get(name)}
    fixed = {name: value for name, value in changes.items() if name not in CHANGEABLE_ON_RESUME | EXECUTION | movable}
    if fixed:
        told = ", ".join(f"{name} {values.get(name)}, not {value}" for name, value in fixed.items())
        raise ArtifactError(f"{out} holds another run ({told}); resume with its settings, or give another `out`")
    final, own = validated_pair(find_method(general.method), {**_given(values), **changes})
    limit_moved = final.memory is not None and changes.keys() & {"memory", "device"}
    if not limit_moved and final.memory is not None and final.chunk > general.chunk:
        final = final.model_copy(update={"chunk": general.chunk})  # what the limit allowed when the run began
    elif limit_moved or "chunk" in changes:
        asked = final.model_copy(update={"chunk": given.get("chunk") or 0})
        final = _for_this_machine(dataset, Resolved(asked, own, {}), ranks).general
    moved = sorted(name for name in EXECUTION - {"memory"} if getattr(final, name) != getattr(general, name))
    if moved:
        note(f"resuming with another {', '.join(moved)}: the result will differ from an uninterrupted run by rounding")
    done = last_step(out)
    if final.steps < done:
        raise ArtifactError(f"{out} has done {done} steps already; give `steps` {done} or more, or another `out`")
    origins = {name: "given" if name in changes else "run" for name in values}
    if final.chunk != changes.get("chunk", general.chunk):
        origins["chunk"] = "run" if final.chunk == general.chunk else "machine"
    return Resolved(final, own, origins)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _require_same_data(dataset: ImageDataset, stored: Mapping[str, Any], out: Path) -> None:
    difference = difference_from(dataset, stored)
    if not difference:
        return
    raise ArtifactError(
        f"{out} was started on another data set, {stored.get('name')} ({asked_for(stored)}): "
        f"{dataset.name} has {difference}; resume with the same data options, or give another `out`"
    )


def _asks_for_auto_again(name: str, value: object) -> bool:
    """Return whether the user passed 'auto' (or 0) again: the command that started a run also resumes it."""
    return name in EXECUTION and value in ("auto", 0)


def _training_images(dataset: ImageDataset, settings: DistillConfig, method: Method) -> ImageDataset:
    """Return the images to distill; where the run evaluates, a part is held out of them as their test split."""
    if settings.eval_every and method.takes_steps:
        return hold_out(dataset, settings.holdout, settings.seed)
    return dataset


def _encoder(
    arch: str, training: ImageDataset, settings: DistillConfig, method: Method, device: torch.device
) -> EncoderPlan:
    """Return a matching network, and its pool of trained ones if that is asked for, trained when the run starts."""
    network = build_model(arch, training.image_shape, training.num_classes, settings.network_shape())
    pool = None
    if settings.pool:
        trained_by = "pool-vit" if network.is_transformer else "pool"
        made = (settings.pool, settings.pool_epochs, arch, network.shape, settings.preprocess, device, trained_by)
        pool = Pool(PoolRecipe(*made), training)
    source = build_network_source(settings.networks, settings.seed, pool)
    return EncoderPlan(arch, network, source, pool if method.uses_pool(settings) else None)


def _require_initial_images(
    training: ImageDataset, settings: DistillConfig, method: Method, rows_per_class: Tensor, images_per_row: int
) -> None:
    """Make sure that every class has the real images that the run begins with, or chooses."""
    size, others = "ipc", ", or a `budget` of images in all"
    if settings.bytes is not None:
        size, others = "pictures", ""
    if not method.takes_steps:
        require_images(training, rows_per_class, others, size=size, of_each=images_per_row)
    elif settings.init != "noise":
        require_images(training, rows_per_class, f", or `init` noise{others}", size=size, of_each=images_per_row)

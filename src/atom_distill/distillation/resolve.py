"""Settings of a run: what the user gives, filled up with the preset's, the papers' and the default values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import ValidationError

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import note
from atom_distill.base.registry import unknown_name
from atom_distill.config.distill import DistillConfig, MethodSettings
from atom_distill.config.presets import (
    ADAM_LR,
    SetFacts,
    images_wanted_per_class,
    paper_settings,
    preset_settings,
    problems,
    settings_for_bytes,
    size_in_bytes,
)
from atom_distill.distillation.method import JUDGING_SETTINGS, Method
from atom_distill.distillation.methods import METHODS, find_method

DEFAULT_METHOD = "atom"
_POOL = frozenset({"pool", "pool_epochs"})
_NETWORK = frozenset({"arch", *(shape.name for shape in fields(NetworkShape))})


@dataclass(frozen=True)
class Resolved:
    """Final settings of a run.

    Attributes:
        general: those that every method has.
        own: those of the method.
        origins: where each comes from: "given", "run" (that is resumed), "extended set", "preset", "paper",
            "data set and size", "default" or "machine".
    """

    general: DistillConfig
    own: MethodSettings
    origins: Mapping[str, str]


def resolve(facts: SetFacts, given: Mapping[str, Any], taken: Mapping[str, Any] | None = None) -> Resolved:
    """Return the settings of a new run.

    Args:
        facts: of the data set.
        given: settings by name; at least ipc, budget or bytes. None stands for one that is not given.
        taken: settings of the finished set that the run extends; what is given counts before them.

    Raises:
        ConfigError: all problems of the settings at once.
        UnknownNameError: a setting or the method does not exist.
    """
    given = {name: value for name, value in given.items() if value is not None}
    given, size = size_in_bytes(facts, given)
    taken = {name: value for name, value in (taken or {}).items() if name not in given}
    wanted = {**taken, **given, **size}
    method = find_method(str(wanted.get("method", DEFAULT_METHOD)))
    paper = {
        **paper_settings(facts, images_wanted_per_class(facts, wanted)),
        **method.data_defaults(facts),
        **method.defaults,
    }
    preset, sized = {**size, **preset_settings(facts, wanted)}, settings_for_bytes(facts, wanted)
    default: dict[str, Any] = {}
    paper = {name: value for name, value in paper.items() if name not in sized}
    if {**paper, **preset, **taken, **given}.get("image_optimizer") == "adam":
        default["image_lr"] = ADAM_LR
        if method.defaults.get("image_optimizer") != "adam" or "image_lr" not in method.defaults:
            del paper["image_lr"]  # it is for SGD
    general, own = validated_pair(method, {**default, **sized, **paper, **preset, **taken, **given})
    sources = {"given": given, "extended set": taken, "preset": preset, "paper": paper, "data set and size": sized}
    names = [*DistillConfig.model_fields, *method.settings_model.model_fields]
    origins = {
        name: next((source for source, settings in sources.items() if name in settings), "default") for name in names
    }
    if general.batch_classes > facts.num_classes:
        note(f"batch_classes {general.batch_classes}: there are {facts.num_classes} classes, so each step has all")
    # A preset that makes bytes of a number of images has a use for every method.
    note_unused({name: value for name, value in given.items() if not (size and name == "preset")}, method, general, own)
    return Resolved(general, own, origins)


def validated_pair(method: Method, values: Mapping[str, Any]) -> tuple[DistillConfig, MethodSettings]:
    """Return general and own settings of values by name; settings of other methods are left out.

    Raises:
        ConfigError: with one clause for each problem.
        UnknownNameError: a setting that no method has.
    """
    require_known(values, method)
    wrong: list[str] = []
    found: list[Any] = []
    for model in (DistillConfig, method.settings_model):
        try:
            found.append(model(**{name: value for name, value in values.items() if name in model.model_fields}))
        except ValidationError as error:
            wrong += problems(error)
    if wrong:
        raise ConfigError("; ".join(wrong))
    return found[0], found[1]


def require_known(names: Iterable[str], method: Method) -> None:
    """Make sure that settings exist, if only for other methods.

    Raises:
        UnknownNameError: a setting that no method has.
    """
    known = [*DistillConfig.model_fields, *method.settings_model.model_fields]
    for name in names:
        if name not in known and name not in _settings_of_methods():
            raise unknown_name("setting", name, known)


def note_unused(given: Mapping[str, Any], method: Method, general: DistillConfig, own: MethodSettings) -> None:
    """Print which of the given settings the method has no use for."""
    unused = method.unused | set(method.idle(own)) | (_settings_of_methods() - type(own).model_fields.keys())
    if not general.eval_every:
        unused |= JUDGING_SETTINGS
    if not method.uses_pool(general):
        unused |= _POOL
    if general.soft_labels:
        unused -= _POOL | _NETWORK  # selections of real images are labeled, too
    known = DistillConfig.model_fields
    names = [name for name in unused & given.keys() if name not in known or given[name] != known[name].default]
    if names:
        note(f"{method.name} has no use for {', '.join(sorted(names))}: ignored")


def _settings_of_methods() -> frozenset[str]:
    """Return the names of all methods' own settings."""
    return frozenset(name for method in METHODS for name in METHODS.get(method).settings_model.model_fields)

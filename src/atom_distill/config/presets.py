"""The papers' settings, chosen from the data set and ipc, and what the user put in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import unknown_name
from atom_distill.config.distill import DistillConfig

Model = TypeVar("Model", bound=BaseModel)

_LOW_RESOLUTION = 32
_LARGE_IPC = 50
_ADAM_LR = 0.02
"""Of Adam a step moves a value by about this much, whatever the gradient's size; model space has a deviation near 1."""

_OF_METHOD: Mapping[str, Mapping[str, Any]] = {
    "dc": {"steps": 1000, "batch_real": 256, "image_lr": 0.1, "augment": "none"},
    "dsa": {"steps": 1000, "batch_real": 256, "image_lr": 0.1},
}
"""Where a method's own paper and code differ from DataDAM's table."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "fast": {"image_optimizer": "adam", "batch_real": 16, "image_average": 0.95},
}
"""Settings that differ from the papers', by name; docs/performance.md has the measurements behind `fast`."""


@dataclass(frozen=True)
class SetFacts:
    """What of a data set decides the defaults.

    Attributes:
        image_shape: (C, H, W).
        num_classes: K.
        train_size: training images.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    train_size: int


@dataclass(frozen=True)
class Resolved:
    """Final settings, and for each where it came from: "given", "preset", "paper" or "default"."""

    config: DistillConfig
    origin: dict[str, str]


def paper_settings(facts: SetFacts, ipc: int, method: str = "atom") -> dict[str, Any]:
    """Return the settings that the papers make depend on resolution, ipc and method.

    Source: DataDAM's hyper-parameter table, repeated in ATOM's supplement. ZCA where they use it, on
    color images of 32x32 and below, if there are enough of them to estimate a full covariance; channel normalization
    elsewhere (gray digits, whitened by --preprocess zca, distill far worse: 62 % for 86 % at ipc 1, 300 steps).
    """
    channels, height, width = facts.image_shape
    low = max(height, width) <= _LOW_RESOLUTION
    whitened = low and channels == 3 and facts.train_size >= channels * height * width
    return {
        "image_lr": 10.0 if ipc > _LARGE_IPC else 1.0,
        "task_balance": 0.01 if low else 0.02,
        "preprocess": "zca" if whitened else "normalize",
        **_OF_METHOD.get(method, {}),
    }


def published_steps(method: str) -> int:
    """Give the steps in a method's own paper; that of an unknown one is taken to be ATOM's."""
    return int(_OF_METHOD.get(method, {}).get("steps", DistillConfig.model_fields["steps"].default))


def resolve(facts: SetFacts, given: Mapping[str, Any]) -> Resolved:
    """Fill the user's settings up with the papers' and the defaults.

    Args:
        facts: of the data set.
        given: settings by name; at least ipc or budget.

    Raises:
        ConfigError: all problems of the settings at once.
    """
    paper = paper_settings(facts, _ipc(facts, given), str(given.get("method", "atom")))
    preset = PRESETS.get(str(given.get("preset")), {})
    default = {}
    if {**preset, **given}.get("image_optimizer") == "adam":
        del paper["image_lr"]  # it is for SGD
        default["image_lr"] = _ADAM_LR
    config = validated(DistillConfig, {**default, **paper, **preset, **given})
    sources = {"given": given, "preset": preset, "paper": paper}
    origin = {
        name: next((source for source, names in sources.items() if name in names), "default")
        for name in DistillConfig.model_fields
    }
    return Resolved(config, origin)


def _ipc(facts: SetFacts, given: Mapping[str, Any]) -> int:
    """Give the images of a class, on average; what is not a number is refused later, with all that is wrong."""
    ipc, budget = given.get("ipc"), given.get("budget")
    if isinstance(budget, int):
        return budget // facts.num_classes
    return ipc if isinstance(ipc, int) else 1


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Build a settings model, wording every problem for the user.

    Raises:
        ConfigError: with one clause for each problem.
        UnknownNameError: a setting that does not exist.
    """
    for name in values:
        if name not in model.model_fields:
            raise unknown_name("setting", name, list(model.model_fields))
    try:
        return model(**values)
    except ValidationError as error:
        problems = [
            ": ".join([*map(str, problem["loc"]), problem["msg"].removeprefix("Value error, ")])
            # What is wrong with the settings together has no place of its own, and its input is all of them.
            + ("" if problem["type"] == "missing" or not problem["loc"] else f", got {problem['input']!r}")
            for problem in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from None

"""The papers' settings, chosen from the data set and ipc; presets; and the wording of wrong settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from atom_distill.base.errors import ConfigError
from atom_distill.base.registry import unknown_name

Model = TypeVar("Model", bound=BaseModel)

_LOW_RESOLUTION = 32
_LARGE_IPC = 50
_PICTURES = 61
"""Pictures for the bytes of a color image of 32x32 at 8 bits a value; n such images get n ** 0.75 times as many. Of the
numbers tried on CIFAR-10 with random images, the best were 50 (of 14 to 80) for one image, 250 (of 100 to 250) for 4,
and 370 (of 150 to 600) for 10, with 270 as good. A picture of v times the values gets sqrt(v) times the bytes, which
was not measured."""
_SOME_IMAGES, _MANY_IMAGES = 3, 8
"""Images of 8 bits a value from which trained networks serve the matching, too, and from which a second one adds little
to the time of a run. On held-out images of CIFAR-10, interpolated networks gained 1.3 points at 10 images; at one, a
pool of 20 epochs gained nothing, and a weight of 3 instead of 10 lost 1.8 points."""
ADAM_LR = 0.02
"""Learning rate of the images with Adam: a step moves a value by about this much, whatever its gradient, and model
space has a deviation near 1."""

_FAST: Mapping[str, Any] = {
    "image_optimizer": "adam",
    "batch_real": 16,
    "image_average": 0.95,
    "synthetic_dtype": "auto",
}


@dataclass(frozen=True)
class SetFacts:
    """The facts of a data set that decide the defaults.

    Attributes:
        image_shape: (C, H, W).
        num_classes: K.
        train_size: training images.
        smallest_class: training images of the class that has fewest; None where it is not known.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    train_size: int
    smallest_class: int | None = None

    @property
    def values_per_image(self) -> int:
        """Values of an image, C*H*W."""
        return math.prod(self.image_shape)

    @property
    def is_low_resolution(self) -> bool:
        """Whether the images are at most 32 pixels high and wide."""
        return max(self.image_shape[1:]) <= _LOW_RESOLUTION


def paper_settings(facts: SetFacts, ipc: int) -> dict[str, Any]:
    """Return the general settings that the papers make depend on resolution and ipc.

    Source: DataDAM's hyper-parameter table, repeated in ATOM's supplement. ZCA where they use it, on color images of
    32x32 and below, if there are enough of them to estimate a full covariance; channel normalization elsewhere
    (gray digits distill far worse when whitened: 62 % instead of 86 % at ipc 1, 300 steps).
    """
    channels, height, width = facts.image_shape
    whitened = facts.is_low_resolution and channels == 3 and facts.train_size >= channels * height * width
    return {
        "image_lr": 10.0 if ipc > _LARGE_IPC else 1.0,
        "preprocess": "zca" if whitened else "normalize",
    }


def settings_for_bytes(facts: SetFacts, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a run whose size is given in bytes; empty for others.

    Channel normalization, since a whitening would have to be stored, too (19 MB at 32x32).
    """
    size = given.get("bytes")
    if not isinstance(size, int) or size < 1:  # which is refused later
        return {}
    side = min(facts.image_shape[1:])
    # A run begins with real images of each class: with half of the average at most, and no more than every class has.
    available = facts.train_size // facts.num_classes // 2
    available = available if facts.smallest_class is None else min(available, facts.smallest_class)
    pictures = round(_PICTURES * (size / facts.values_per_image) ** 0.75 * math.sqrt(facts.values_per_image / 3072))
    return {
        "preprocess": "normalize",
        "parameterization": f"frequency-{max(1, side * 3 // 4)}-{max(1, side * 3 // 8)}",
        "pictures": max(1, min(pictures, available)),
    }


def size_in_bytes(facts: SetFacts, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is given, and apart from it the `bytes` that the preset `best` makes of a number of images.

    The preset spends them on as many pictures as pay, so that a number of images means no more than a size: a byte for
    each of their values. Then `ipc` and `budget` are no longer among what is given; otherwise nothing changes.
    """
    ipc, budget = given.get("ipc"), given.get("budget")
    if given.get("preset") == "best" and "bytes" not in given:
        others = {name: value for name, value in given.items() if name not in ("ipc", "budget")}
        match ipc, budget:
            case int(per_class), None if per_class >= 1:
                return others, {"bytes": per_class * facts.values_per_image}
            case None, int(images) if images >= 1:
                return others, {"bytes": max(1, images * facts.values_per_image // facts.num_classes)}
    return dict(given), {}  # what is no number of images is refused later


def _best_settings(facts: SetFacts, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the preset `best`; docs/frontier.md has what was measured of them.

    A larger size has more pictures, and gets more steps, though not quite in proportion, so that runs stay short.
    """
    size = given.get("bytes")
    images = size / facts.values_per_image if isinstance(size, int) and size >= 1 else 1.0
    return {
        **_FAST,
        "steps": max(1, 10 * round(28 * images**0.6)),
        "pool": 1 if images < _MANY_IMAGES else 2,
        "pool_epochs": 5 if images < _SOME_IMAGES else 20,
        "networks": "fresh" if images < _SOME_IMAGES else "interpolated",
        "label_weight": 10.0 if images < _SOME_IMAGES else 3.0,
        "batch_synthetic": max(10, min(40, 400 // facts.num_classes)),
        "synthetic_dtype": "auto",
    }


PresetOf = Callable[[SetFacts, Mapping[str, Any]], Mapping[str, Any]]
"""From the facts of a data set and what is given to settings that differ from the papers'."""
PRESETS: Mapping[str, PresetOf] = {
    "paper": lambda _facts, _given: {},
    "fast": lambda _facts, _given: _FAST,
    "best": _best_settings,
}
"""By name; docs/performance.md has the measurements of `fast`, docs/frontier.md those of `best`."""


def preset_settings(facts: SetFacts, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of the preset that is given; an unknown one is refused later, with all that is wrong."""
    preset = PRESETS.get(str(given.get("preset")))
    return {} if preset is None else preset(facts, given)


def images_wanted_per_class(facts: SetFacts, given: Mapping[str, Any]) -> int:
    """Return the average ipc that is asked for, 1 where it is not a number (which is refused later)."""
    ipc, budget, size = given.get("ipc"), given.get("budget"), given.get("bytes")
    if isinstance(size, int):
        return max(1, size // facts.values_per_image)
    if isinstance(budget, int):
        return budget // facts.num_classes
    return ipc if isinstance(ipc, int) else 1


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return a settings model of values by name.

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
        raise ConfigError("; ".join(problems(error))) from None


def problems(error: ValidationError) -> list[str]:
    """Return what is wrong with settings, one clause for each problem."""
    return [
        _clause(problem["loc"], problem["msg"])
        # A problem of the settings together has no place of its own, and its input is all of them.
        + ("" if problem["type"] == "missing" or not problem["loc"] else f", got {problem['input']!r}")
        for problem in error.errors()
    ]


def _clause(place: Sequence[int | str], message: str) -> str:
    """Return e.g. "`ipc` must be greater than 0"; the command line turns the name in backquotes into an option."""
    told = message.removeprefix("Value error, ").replace("Input should", "must", 1)
    if not place:
        return told
    name = f"`{'.'.join(map(str, place))}`"
    return f"{name} {told}" if told.startswith("must") else f"{name}: {told}"

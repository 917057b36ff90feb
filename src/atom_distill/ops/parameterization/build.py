"""Parameterizations by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from atom_distill.base.errors import ConfigError
from atom_distill.base.plugins import find
from atom_distill.base.registry import Registry, unknown_name
from atom_distill.ops.parameterization.base import Parameterization
from atom_distill.ops.parameterization.frequency import Frequency
from atom_distill.ops.parameterization.pixels import Pixels
from atom_distill.ops.parameterization.quantized import Quantized, split_steps
from atom_distill.ops.parameterization.tiles import Tiles

Builder = Callable[[tuple[int, int, int]], Parameterization]
"""From the shape (C, H, W) of the images to a parameterization: its class, or a function."""
PARAMETERIZATIONS: Registry[Builder] = Registry("parameterization")
PARAMETERIZATIONS.register("pixels")(Pixels)
TILE_FACTORS = (2, 3, 4)
for _factor in TILE_FACTORS:
    PARAMETERIZATIONS.register(f"tiles-{_factor}")(partial(Tiles, factor=_factor))
_FREQUENCY = re.compile(r"frequency-(\d+)(?:-(\d+))?(?:-([1-9]\d*))?")
"""Corners of luma and chroma (one number: of both), images of a row (none: as many as fit)."""


def build_parameterization(name: str, image_shape: tuple[int, int, int]) -> Parameterization:
    """Return a parameterization by its name, `frequency-A-B`, or "package.module:name".

    Raises:
        UnknownNameError: there is no such one.
        ConfigError: it does not fit the images.
    """
    frequency = _FREQUENCY.fullmatch(name)
    if frequency:
        luma, chroma, images = (None if number is None else int(number) for number in frequency.groups())
        assert luma is not None  # by the pattern
        return Frequency(image_shape, luma, luma if chroma is None else chroma, images_per_row=images)
    if name.startswith("frequency"):
        raise ConfigError(f"`parameterization` {name} needs one corner or two, of luma and chroma: e.g. frequency-12-6")
    if ":" not in name and name not in PARAMETERIZATIONS:
        raise unknown_name(PARAMETERIZATIONS.kind, name, [*PARAMETERIZATIONS, "frequency-A-B"])
    return find(PARAMETERIZATIONS, name, Callable)(image_shape)  # type: ignore[arg-type]


def restored(name: str, image_shape: tuple[int, int, int], tensors: Mapping[str, Tensor]) -> Parameterization:
    """Return the parameterization that has been fitted to what `Parameterization.tensors` returned."""
    steps, rest = split_steps(tensors)
    inner = build_parameterization(name, image_shape).with_tensors(rest)
    return Quantized(inner, steps) if steps else inner

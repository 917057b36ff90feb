"""What is stored and optimized, and how it becomes the images that networks see."""

from atom_distill.ops.parameterization.base import Parameterization, Stored, count_bytes, count_values, rows_of
from atom_distill.ops.parameterization.build import (
    PARAMETERIZATIONS,
    TILE_FACTORS,
    Builder,
    build_parameterization,
    restored,
)
from atom_distill.ops.parameterization.frequency import Frequency
from atom_distill.ops.parameterization.pixels import Pixels
from atom_distill.ops.parameterization.quantized import Quantized
from atom_distill.ops.parameterization.tiles import Tiles

__all__ = [
    "PARAMETERIZATIONS",
    "TILE_FACTORS",
    "Builder",
    "Frequency",
    "Parameterization",
    "Pixels",
    "Quantized",
    "Stored",
    "Tiles",
    "build_parameterization",
    "count_bytes",
    "count_values",
    "restored",
    "rows_of",
]

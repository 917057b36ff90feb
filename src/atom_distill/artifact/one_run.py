"""Whether the files of a run folder are those of one run, which a file that was copied into it may not be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from atom_distill.artifact.folder import StoredValues
from atom_distill.base.errors import ArtifactError, ShapeError
from atom_distill.config.distill import stored_form
from atom_distill.ops.preprocessing import Preprocessing


def require_one_run(
    folder: Path, values: StoredValues, settings: Mapping[str, Any], preprocessing: Preprocessing
) -> None:
    """Make sure that stored values, settings and transform fit each other.

    Raises:
        ArtifactError: they do not.
    """
    asked = stored_form(settings)
    if asked != values.parameterization:
        raise _mixed(folder, f"its images are stored as {values.parameterization}, and by config.yaml as {asked}")
    try:
        preprocessing.apply(torch.zeros(1, *values.image_shape, dtype=torch.uint8))
    except ShapeError as error:
        raise _mixed(folder, f"its preprocessing does not fit its images: {error}") from None


def _mixed(folder: Path, how: str) -> ArtifactError:
    return ArtifactError(f"{folder} has files of two runs ({how}); put back the file that was replaced")

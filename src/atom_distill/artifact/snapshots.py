"""The images of a run as they were at a few of its steps, for people to watch them change."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atom_distill.artifact.folder import load_checked, save_checked
from atom_distill.base.errors import ArtifactError

SNAPSHOTS_FILE = "snapshots.safetensors"


class Snapshots(NamedTuple):
    """Pictures of images at several steps.

    Attributes:
        steps: steps done at each, ascending; 0 is the images before the first step.
        rows: which of the set's images they are of, int64 [n], ascending.
        pixels: contrast-fitted as in `grid.png`, uint8 [S, n, C, H, W].
    """

    steps: tuple[int, ...]
    rows: Tensor
    pixels: Tensor

    def up_to(self, step: int) -> Snapshots:
        """Leave out what is later than a step."""
        return self.at([number for number in self.steps if number <= step])

    def at(self, steps: list[int]) -> Snapshots:
        """Keep those of some steps."""
        places = [self.steps.index(step) for step in steps]
        return Snapshots(tuple(steps), self.rows, self.pixels[places])


def save_snapshots(folder: Path, snapshots: Snapshots) -> None:
    """Write `snapshots.safetensors` atomically."""
    tensors = {"rows": snapshots.rows, "pixels": snapshots.pixels.contiguous()}
    save_checked(folder / SNAPSHOTS_FILE, tensors, {"steps": list(snapshots.steps)})


def load_snapshots(folder: Path) -> Snapshots | None:
    """Read the snapshots of a run; None where it has none.

    Raises:
        ArtifactError: the file is damaged, or not ours.
    """
    path = folder / SNAPSHOTS_FILE
    if not path.exists():
        return None
    tensors, facts = load_checked(path)
    try:
        found = Snapshots(tuple(map(int, facts["steps"])), tensors["rows"], tensors["pixels"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} holds no snapshots of this tool (lacks {error})") from None
    wanted = (len(found.steps), len(found.rows))
    if found.pixels.shape[:2] != wanted or found.pixels.dtype != torch.uint8 or found.pixels.ndim != 5:
        raise ArtifactError(f"{path} holds no snapshots of this tool: its pixels do not fit its steps")
    return found

"""Pictures of the images of a run at several steps, which show how the images change."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atom_distill.artifact.folder import load_checked, save_checked
from atom_distill.base.errors import ArtifactError

SNAPSHOTS_FILE = "snapshots.safetensors"


class Snapshots(NamedTuple):
    """Pictures of n images of a set at S steps.

    Attributes:
        steps: number of steps done at each, ascending; 0 is before the first step.
        rows: indices of the images in the set, int64 [n], ascending.
        pixels: contrast-fitted as in `grid.png`, uint8 [S, n, C, H, W].
    """

    steps: tuple[int, ...]
    rows: Tensor
    pixels: Tensor

    def up_to(self, step: int) -> Snapshots:
        """Return the snapshots of this step and earlier."""
        return self.at([number for number in self.steps if number <= step])

    def at(self, steps: list[int]) -> Snapshots:
        """Return the snapshots of the given steps."""
        places = [self.steps.index(step) for step in steps]
        return Snapshots(tuple(steps), self.rows, self.pixels[places])


def save_snapshots(folder: Path, snapshots: Snapshots) -> None:
    """Write `snapshots.safetensors` atomically."""
    tensors = {"rows": snapshots.rows, "pixels": snapshots.pixels.contiguous()}
    save_checked(folder / SNAPSHOTS_FILE, tensors, {"steps": list(snapshots.steps)})


def load_snapshots(folder: Path) -> Snapshots | None:
    """Return the snapshots of a run folder; None if it has none.

    Raises:
        ArtifactError: the file is damaged, or not a snapshot file of this tool.
    """
    path = folder / SNAPSHOTS_FILE
    if not path.exists():
        return None
    tensors, facts = load_checked(path)
    try:
        found = Snapshots(tuple(map(int, facts["steps"])), tensors["rows"], tensors["pixels"])
    except KeyError as error:
        raise ArtifactError(f"{path} holds no snapshots of this tool (lacks {error})") from None
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path} holds no snapshots of this tool ({error})") from None
    wanted = (len(found.steps), len(found.rows))
    if found.rows.dtype != torch.int64 or found.rows.ndim != 1:
        raise ArtifactError(f"{path} holds no snapshots of this tool: its rows are not indices")
    if found.pixels.shape[:2] != wanted or found.pixels.dtype != torch.uint8 or found.pixels.ndim != 5:
        raise ArtifactError(f"{path} holds no snapshots of this tool: its pixels do not fit its steps")
    return found

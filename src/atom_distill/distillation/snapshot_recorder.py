"""Pictures of the images during the run: of which steps and images, and how they are made."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from atom_distill.artifact.pictures import fit_contrast
from atom_distill.artifact.snapshots import Snapshots, load_snapshots, save_snapshots
from atom_distill.base.errors import ArtifactError
from atom_distill.base.progress import note
from atom_distill.distillation.images_per_class import first_of_each
from atom_distill.ops.preprocessing import Preprocessing

_VALUES = 1 << 22
"""Bytes of one snapshot at most: all of CIFAR-10 at ipc 50 (1.5 MB), or three images of each TinyImageNet class."""


def stride(step: int, most: int) -> int:
    """Return the distance of the snapshots that a run keeps after a step.

    A power of two, so that the snapshots of a longer run are among those of a shorter one: a run that is continued
    drops pictures and misses none.

    Args:
        step: steps done.
        most: maximum number of snapshots, the first and the last among them; at least 2.
    """
    distance = 1
    while distance * (most - 1) < step:
        distance *= 2
    return distance


class SnapshotRecorder:
    """Keeps the snapshots of a run; in the end they depend on its steps alone, however often it was stopped.

    Args:
        folder: of the run; None on ranks that write nothing.
        most: maximum number of snapshots, at least 2.
        per_class: decoded images of each class, int64 [K].
        preprocessing: between pixels and model space.
        resumed_at: steps done by the state that the run continues from; later snapshots are dropped, since they are
            about to be taken again.
    """

    def __init__(
        self, folder: Path | None, most: int, per_class: Tensor, preprocessing: Preprocessing, resumed_at: int
    ) -> None:
        self._folder, self._most, self._per_class = folder, most, per_class
        self._preprocessing = preprocessing
        found = None if folder is None or not resumed_at else _readable(folder)
        self._taken = None if found is None else found.up_to(resumed_at)
        self._is_saved = True

    def is_due(self, step: int, *, last: bool) -> bool:
        """Return whether a snapshot is due after a step, the same on all ranks."""
        return last or step % stride(step, self._most) == 0

    def add(self, step: int, images: Tensor) -> None:
        """Take a snapshot of the images of the set, in model space [M, C, H, W], and drop those that it replaces."""
        if self._folder is None:
            return
        rows = first_of_each(self._per_class, max(1, _VALUES // images[0].numel()))
        pixels = fit_contrast(self._preprocessing.invert(images.detach()[rows.to(images.device)])).cpu()[None]
        taken, distance = self._taken, stride(step, self._most)
        if taken is not None and torch.equal(taken.rows, rows):
            kept = taken.at([one for one in taken.steps if one % distance == 0 and one != step])
            self._taken = Snapshots((*kept.steps, step), rows, torch.cat([kept.pixels, pixels]))
        else:
            self._taken = Snapshots((step,), rows, pixels)
        self._is_saved = False

    def save(self) -> None:
        """Write the snapshots if there are new ones."""
        if self._folder is not None and self._taken is not None and not self._is_saved:
            save_snapshots(self._folder, self._taken)
            self._is_saved = True


def _readable(folder: Path) -> Snapshots | None:
    try:
        return load_snapshots(folder)
    except ArtifactError as error:
        note(f"the snapshots taken so far are lost: {error}")
        return None

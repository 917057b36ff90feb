"""One cell of a table: a distilled set, the networks trained on it, and their accuracies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices, Field

from atom_distill.artifact.distilled import Which
from atom_distill.artifact.scores import Runs
from atom_distill.config.distill import Precision
from atom_distill.data.dataset import ImageDataset
from atom_distill.distillation.methods import find_method

AFTER = " after "
"""Separates label and steps in the column of a curve's point."""
HELD_OUT_ROW, BEST_ROW = "images held out", "images held out, best instead of last"
"""Rows of one run on a part of the training images: its last images, and those that were best on the rest."""
BEST = "best"
"""The row of sets made with the preset of this name."""
UNCHANGED = "unchanged"
"""The row of `changes` that the others are compared with."""
_PAPER_NETWORKS = 5


@dataclass(frozen=True)
class Effort:
    """How much of the papers' computation is done.

    Attributes:
        share: of each method's published steps, and of the papers' five networks per cell.
        steps: of every distillation; None for the share.
        repeats: networks per cell; None for the share.
        epochs: of each network's training; None for the protocol's.
        precision: of the networks' convolutions.
    """

    share: float = 1.0
    steps: int | None = None
    repeats: int | None = None
    epochs: int | None = None
    precision: Precision = "auto"

    def steps_of(self, method: str) -> int:
        """Return the steps of a method; 0 for one that takes none."""
        chosen = find_method(method)
        return (self.steps or max(1, round(self.share * chosen.published_steps))) if chosen.takes_steps else 0

    @property
    def networks(self) -> int:
        """Networks per cell."""
        return self.repeats or max(1, round(self.share * _PAPER_NETWORKS))


@dataclass(frozen=True)
class Cell:
    """What is distilled and evaluated for one place of a table.

    Attributes:
        row, column: its place.
        dataset: name or path.
        settings: of the distillation, by name; at least method and ipc.
        arch: architecture of the networks trained on the set; they have the norm of the settings.
        protocol: how they are trained, as `protocol_of` reads it.
        published: the published accuracy, percent.
        which: the last images, or those that were best on held-out training images.
        continues: the cell whose run is continued, with more steps, to make this one's set.
    """

    row: str
    column: str
    dataset: str
    settings: Mapping[str, Any]
    arch: str = "convnet"
    protocol: str = "dm"
    published: float | None = None
    which: Which = "last"
    continues: Cell | None = None

    @property
    def name(self) -> str:
        """Row and column, as the patterns of `--cells` match it."""
        return f"{self.row}/{self.column}"

    def folder(self, dataset: ImageDataset) -> str:
        """Return the name of its set's folder: equal for cells with the same settings and images, else different.

        Args:
            dataset: the cell's, loaded.
        """
        readable = f"{self.settings['method']}-{self.settings['ipc']}"
        key = json.dumps([dataset.fingerprint, dict(self.settings)], sort_keys=True)
        return f"{dataset.name}-{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


class Result(Runs):
    """The accuracies of a cell.

    Attributes:
        row, column: its place.
        published: the published accuracy, percent.
        runs: test accuracy of each network, percent.
        steps: of the distillation; 0 for real images.
        settings: of the distillation, as given.
        preprocess, arch, protocol, precision: of the evaluation.
        distill_seconds: wall clock of the distillation; None if it was resumed or found.
        evaluate_seconds: wall clock of the evaluation.
    """

    row: str
    column: str
    published: float | None
    steps: int
    settings: dict[str, Any]
    preprocess: str
    arch: str
    protocol: str
    precision: str
    distill_seconds: float | None = Field(validation_alias=AliasChoices("distill_seconds", "distil_seconds"))
    evaluate_seconds: float

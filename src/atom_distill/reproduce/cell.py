"""One cell of a table: a set, how networks are trained on it, and what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from atom_distill.config.distill import Precision
from atom_distill.data.dataset import ImageDataset
from atom_distill.distillation.methods import METHODS

AFTER = " after "
"""Stands in the column of a curve's point between the series and the steps."""


@dataclass(frozen=True)
class Budget:
    """How much of the published effort is spent.

    Attributes:
        share: of each method's published updates of the images.
        steps: updates of the images, in place of a share.
        repeats: networks a cell.
        epochs: of each network's training; None for the protocol's own.
        precision: of their convolutions.
    """

    share: float = 1.0
    steps: int | None = None
    repeats: int = 5
    epochs: int | None = None
    precision: Precision = "auto"

    def steps_of(self, method: str) -> int:
        """Give the updates of the images; 0 for a selection."""
        if not METHODS.get(method).takes_steps:
            return 0
        return self.steps or max(1, round(self.share * METHODS.get(method).published_steps))


@dataclass(frozen=True)
class Cell:
    """What is to be found out.

    Attributes:
        row, column: where it stands.
        dataset: by name.
        settings: of the distillation, by name; at least method and ipc.
        arch: architecture of the networks trained on the set.
        published: the published accuracy, percent.
        continues: the cell whose set this one is a later state of.
    """

    row: str
    column: str
    dataset: str
    settings: Mapping[str, Any]
    arch: str = "convnet"
    published: float | None = None
    continues: Cell | None = None

    @property
    def name(self) -> str:
        """Row and column, as `--cells` finds it."""
        return f"{self.row}/{self.column}"

    def folder(self, dataset: ImageDataset) -> str:
        """Name the folder of its set: cells with the same set share it, and other images are another set.

        Args:
            dataset: what the cell names.
        """
        readable = "-".join(str(self.settings.get(part)) for part in ("method", "ipc"))
        key = json.dumps([dataset.fingerprint, dict(self.settings)], sort_keys=True)
        return f"{dataset.name}-{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


class Result(BaseModel):
    """What a cell came to.

    Attributes:
        row, column: where it stands.
        published: the published accuracy, percent.
        runs: test accuracy of each network, percent.
        mean, std: of them.
        steps: updates of the images; 0 where real images were chosen.
        settings: of the distillation, as given.
        preprocess, arch, protocol, precision: of the evaluation.
        distil_seconds: wall clock of the distillation, where it ran in one go just now.
        evaluate_seconds: wall clock of the evaluation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    column: str
    published: float | None
    runs: tuple[float, ...]
    mean: float
    std: float
    steps: int
    settings: dict[str, Any]
    preprocess: str
    arch: str
    protocol: str
    precision: str
    distil_seconds: float | None
    evaluate_seconds: float

"""Run cells: distill or load the set, evaluate it or load its score."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from atom_distill.api import distill, evaluate, plan_distillation
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import SCORES_FILE, Score, changing_scores, load_scores, save_scores, with_score
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ArtifactError, InterruptedRunError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import note
from atom_distill.config.training_protocol import protocol_of
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import is_fetchable, load_dataset
from atom_distill.distillation.method import RunPlan
from atom_distill.distillation.methods import find_method
from atom_distill.distillation.selection_methods import RANDOM
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.models.build import build_model
from atom_distill.models.registry import MODELS
from atom_distill.models.timm_network import PREFIX
from atom_distill.reproduce.cell import Cell, Effort, Result
from atom_distill.training.training_execution import ExecutionOptions


class CellRunner:
    """Runs cells in a folder, and keeps their sets in `sets/`.

    Args:
        folder: of the tables.
        effort: networks per cell, their epochs and precision.
        shape: departures of the evaluated networks from their architecture, besides the norm of a cell.
        seed: of the evaluations.
        device: cpu, cuda, ..., or auto.
    """

    def __init__(
        self,
        folder: Path,
        effort: Effort,
        *,
        shape: NetworkShape = NetworkShape(),  # noqa: B008 (it cannot be changed)
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self._sets, self._effort, self._shape, self._seed, self._device = folder / "sets", effort, shape, seed, device
        self._datasets: dict[str, ImageDataset] = {}

    def without_data(self) -> CellRunner:
        """Return the same runner without loaded images, which another process opens itself."""
        runner = copy(self)
        runner._datasets = {}
        return runner

    def fingerprints(self, names: Sequence[str] = ()) -> dict[str, str]:
        """Return the fingerprints of data sets by name: of those given, or of all that are loaded."""
        return {name: self._dataset(name).fingerprint for name in names or [*self._datasets]}

    def check(self, cells: Sequence[Cell]) -> None:
        """Make sure that every cell can be run, before the first one takes its hours.

        Raises:
            AtomError: a data set, a setting or an architecture is wrong.
        """
        for cell in cells:
            dataset = self._dataset(cell.dataset)
            _plan(cell, dataset)
            build_model(cell.arch, dataset.image_shape, dataset.num_classes, self._evaluation(cell).shape)

    def check_names(self, cells: Sequence[Cell]) -> None:
        """Make sure that data sets and architectures exist, without fetching or building any.

        Raises:
            AtomError: one does not exist.
        """
        for cell in cells:
            if not is_fetchable(cell.dataset):
                self._dataset(cell.dataset)
            if not cell.arch.startswith(PREFIX):
                MODELS.get(cell.arch)

    def run(self, cell: Cell, before: Result | None) -> Result:
        """Return the accuracies of a cell; what is in the folder already is not computed again.

        Args:
            cell: what to run.
            before: the earlier result in the cell's place, for the time that its distillation took.

        Raises:
            AtomError: the cell's settings do not hold together, or its files are damaged.
        """
        dataset = self._dataset(cell.dataset)
        if cell.settings["method"] == RANDOM.name:
            score, seconds = self._random_score(cell, dataset), None
        else:
            distilled, seconds = self._distill(cell, dataset)
            if seconds is None and before is not None and before.settings == dict(cell.settings):
                seconds = before.distill_seconds
            score = self._score(cell, distilled, dataset)
        return Result(
            row=cell.row,
            column=cell.column,
            published=cell.published,
            steps=_steps_of(cell, score),
            settings=dict(cell.settings),
            protocol=score.protocol.name,
            distill_seconds=seconds,
            evaluate_seconds=score.seconds,
            **score.model_dump(include={"runs", "preprocess", "arch", "precision"}),
        )

    def _dataset(self, name: str) -> ImageDataset:
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name)
        return self._datasets[name]

    def folder(self, cell: Cell) -> Path:
        """Return the folder of a cell's set."""
        return self._sets / cell.folder(self._dataset(cell.dataset))

    def _distill(self, cell: Cell, dataset: ImageDataset) -> tuple[DistilledDataset, float | None]:
        """Return the set, and the seconds it took if it was made here from its first step to its last."""
        out = self.folder(cell)
        if cell.continues is not None and self.folder(cell.continues).exists() and not out.exists():
            _copy(self.folder(cell.continues), out)
        is_new = not out.exists()
        started = time.perf_counter()
        try:
            distilled = distill(dataset, out=out, resume=not is_new, **cell.settings)
        except ArtifactError as error:
            raise ArtifactError(f"{error}. Or remove {out}: the table then makes that set again") from None
        except InterruptedRunError:
            raise InterruptedRunError(f"stopped while {out} was distilled; the same command continues") from None
        return distilled, time.perf_counter() - started if is_new else None

    def _score(self, cell: Cell, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        of_set = [
            score
            for score in distilled.scores
            if (score.subject, score.which, score.first) == ("distilled", cell.which, None)
        ]
        stored = self._stored(cell, of_set)
        if stored is not None:
            return stored
        judged = distilled if cell.which == "last" else DistilledDataset.load(self.folder(cell), cell.which)
        return evaluate(judged, dataset, cell.arch, device=self._device, **self._options(cell))

    def _random_score(self, cell: Cell, dataset: ImageDataset) -> Score:
        """Return the score of random images, each network trained on a subset of its own."""
        folder = self.folder(cell)
        score = self._stored(cell, load_scores(folder))
        if score is None:
            plan = _plan(cell, dataset)
            score = self._evaluation(cell).of_random(dataset, plan.images_per_class, plan.settings.preprocess)
            folder.mkdir(parents=True, exist_ok=True)
            with changing_scores(folder):  # another command may have added some meanwhile
                save_scores(folder, with_score(load_scores(folder), score))
        return score

    def _stored(self, cell: Cell, scores: Sequence[Score]) -> Score | None:
        """Return what the cell's evaluation would find, from the first of some scores that says it."""
        known = map(self._evaluation(cell).known_from, scores)
        return next((score for score in known if score is not None), None)

    def _evaluation(self, cell: Cell) -> Evaluation:
        return Evaluation(arch=cell.arch, device=pick_device(self._device), **self._options(cell))

    def _options(self, cell: Cell) -> dict[str, Any]:
        """Return how the networks of a cell are trained, by the names of `Evaluation`."""
        epochs = {} if self._effort.epochs is None else {"epochs": self._effort.epochs}
        return {
            "shape": replace(self._shape, norm=cell.settings.get("norm", self._shape.norm)),
            "repeats": self._effort.networks,
            "protocol": protocol_of(cell.protocol, **epochs),
            "seed": self._seed,
            "execution": ExecutionOptions(self._effort.precision),
        }


def _steps_of(cell: Cell, score: Score) -> int:
    """Return the steps of a cell's run, of which its best images may have fewer."""
    steps = score.steps or 0
    return steps if cell.which == "last" else int(cell.settings.get("steps", steps))


def _plan(cell: Cell, dataset: ImageDataset) -> RunPlan:
    """Return the plan of a cell, without the settings that only its evaluation uses: they would be noted as unused."""
    unused = find_method(cell.settings["method"]).unused
    return plan_distillation(dataset, {name: value for name, value in cell.settings.items() if name not in unused})


def _copy(source: Path, target: Path) -> None:
    """Copy a run in order to continue it; an interrupted copy never has the name of `target`."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    note(f"continuing {source}")
    shutil.copytree(source, partial)
    (partial / SCORES_FILE).unlink(missing_ok=True)  # they are of fewer steps
    partial.rename(target)

"""Run cells: make or find the set, train or find the networks, and keep what was found at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from atom_distill.api import distill, plan_distillation
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, load_scores, save_scores
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ArtifactError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.progress import note
from atom_distill.config.presets import SetFacts, paper_settings
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import load_dataset
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.models.build import build_model
from atom_distill.reproduce.cell import Budget, Cell, Result
from atom_distill.training.training_execution import ExecutionOptions


class Runner:
    """Runs cells in a folder, one set each in `sets/`.

    Args:
        folder: where.
        budget: networks of each cell, their epochs and precision.
        seed: of the evaluations.
        arch_shape: departures of the evaluated networks from their architecture.
        device: where.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        *,
        arch_shape: NetworkShape,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self._sets = folder / "sets"
        protocol = PROTOCOLS.get("dm")
        self._evaluation = Evaluation(
            shape=arch_shape,
            repeats=budget.repeats,
            protocol=protocol if budget.epochs is None else protocol.changed(epochs=budget.epochs),
            seed=seed,
            device=pick_device(device),
            execution=ExecutionOptions(budget.precision),
        )
        self._datasets: dict[str, ImageDataset] = {}

    def run(self, cell: Cell, before: Result | None) -> Result:
        """Find out what a cell comes to.

        Args:
            cell: which.
            before: what an earlier command found, for the time its distillation took.

        Raises:
            AtomError: its settings do not hold together, or its files are damaged.
        """
        dataset = self._dataset(cell.dataset)
        if cell.settings["method"] == "random":
            return self._result(cell, self._random(cell, dataset), None)
        distilled, seconds = self._distill(cell, dataset)
        if seconds is None and before is not None:
            seconds = before.distil_seconds
        return self._result(cell, self._score(cell, distilled, dataset), seconds)

    def check(self, cells: Sequence[Cell]) -> None:
        """Make sure that every cell can be run, before the first one takes its hours.

        Raises:
            AtomError: a data set, a setting or an architecture is not what it should be.
        """
        for cell in cells:
            dataset = self._dataset(cell.dataset)
            plan_distillation(dataset, cell.settings)
            build_model(cell.arch, dataset.image_shape, dataset.num_classes, self._evaluation.shape)

    def _folder(self, cell: Cell) -> Path:
        return self._sets / cell.folder(self._dataset(cell.dataset))

    def _dataset(self, name: str) -> ImageDataset:
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name)
        return self._datasets[name]

    def _distill(self, cell: Cell, dataset: ImageDataset) -> tuple[DistilledDataset, float | None]:
        """Make the set, go on with it, or find it; the seconds are given where it was made in one go."""
        out = self._folder(cell)
        shorter = self._folder(cell.continues) if cell.continues is not None else out
        if shorter.exists() and not out.exists():
            _copy(shorter, out)
        fresh = not out.exists()
        started = time.perf_counter()
        try:
            distilled = distill(dataset, out=out, resume=not fresh, **cell.settings)
        except ArtifactError as error:
            raise ArtifactError(f"{error}. Or remove {out}: the table then makes that set again") from None
        return distilled, time.perf_counter() - started if fresh else None

    def _score(self, cell: Cell, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        evaluation = self._of(cell)
        done = (score for score in distilled.scores if score.subject == "distilled" and score.which == "last")
        found = next(filter(evaluation.would_repeat, done), None)
        if found is None:
            found = evaluation.of_distilled(distilled, dataset)
            distilled.add_score(found)
        return found

    def _random(self, cell: Cell, dataset: ImageDataset) -> Score:
        """Train each network on a draw of its own: one draw for all would say little of random subsets."""
        folder = self._folder(cell)
        scores = load_scores(folder)
        evaluation = self._of(cell)
        found = next(filter(evaluation.would_repeat, scores), None)
        if found is None:
            facts = SetFacts(dataset.image_shape, dataset.num_classes, len(dataset.train))
            ipc = int(cell.settings["ipc"])
            preprocess = cell.settings.get("preprocess") or paper_settings(facts, ipc)["preprocess"]
            found = evaluation.of_random(dataset, ipc, str(preprocess))
            folder.mkdir(parents=True, exist_ok=True)
            save_scores(folder, [*scores, found])
        return found

    def _of(self, cell: Cell) -> Evaluation:
        return replace(self._evaluation, arch=cell.arch)

    def _result(self, cell: Cell, score: Score, distil_seconds: float | None) -> Result:
        return Result(
            row=cell.row,
            column=cell.column,
            published=cell.published,
            runs=score.runs,
            mean=score.mean,
            std=score.std,
            steps=score.steps or 0,
            settings=dict(cell.settings),
            preprocess=score.preprocess,
            arch=score.arch,
            protocol=score.protocol.name,
            precision=score.precision,
            distil_seconds=distil_seconds,
            evaluate_seconds=score.seconds,
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a run so that it can be made longer; a copy cut short is not taken for one."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    note(f"going on from {source}")
    shutil.copytree(source, partial)
    (partial / "scores.json").unlink(missing_ok=True)  # they are those of fewer steps
    partial.rename(target)

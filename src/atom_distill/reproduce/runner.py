"""Run cells: make or find the set, train or find the networks, and keep what was found at once."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, load_scores, save_scores
from atom_distill.base.device import pick_device
from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import write_json
from atom_distill.base.progress import note
from atom_distill.base.record import run_record
from atom_distill.config.presets import SetFacts, paper_settings
from atom_distill.config.protocol import PROTOCOLS
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import load_dataset
from atom_distill.distillation.run import Judge, run
from atom_distill.evaluation.evaluate import Evaluation
from atom_distill.models.registry import NetworkShape
from atom_distill.reproduce.cell import Budget, Cell, Result
from atom_distill.reproduce.cost import Cost

_RESULTS: TypeAdapter[list[Result | Cost]] = TypeAdapter(list[Result | Cost])


class Results:
    """The finished cells of a table, in a JSON file that is rewritten after each.

    Args:
        path: the file; cells of earlier commands in it stay, unless they are found anew.
        table: its name.

    Raises:
        ArtifactError: the file is damaged, or of another table.
    """

    def __init__(self, path: Path, table: str) -> None:
        self._path, self._table = path, table
        self._found: dict[tuple[str, str], Result | Cost] = {}
        if path.exists():
            self._found = {(result.row, result.column): result for result in read_results(path, table)}

    def add(self, result: Result | Cost) -> None:
        """Keep one more."""
        self._found[result.row, result.column] = result
        content = {"table": self._table, "cells": self.as_json(), "record": run_record()}
        write_json(self._path, content)

    def accuracy(self, cell: Cell) -> Result | None:
        """Give what is known of a cell."""
        found = self._found.get((cell.row, cell.column))
        return found if isinstance(found, Result) else None

    def all(self) -> list[Result | Cost]:
        """Give all, in the order in which they were first found."""
        return list(self._found.values())

    def accuracies(self) -> list[Result]:
        """Give those that are accuracies."""
        return [result for result in self.all() if isinstance(result, Result)]

    def as_json(self) -> list[dict[str, Any]]:
        """Give all as plain values."""
        return [result.model_dump(mode="json") for result in self.all()]


def read_results(path: Path, table: str | None = None) -> list[Result | Cost]:
    """Read a file of `Results`.

    Raises:
        ArtifactError: it is damaged, or of another table than `table`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if table is not None and content["table"] != table:
            raise ArtifactError(f"{path} holds the table {content['table']}; give another --out")
        return _RESULTS.validate_python(content["cells"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ArtifactError(f"{path} is damaged ({type(error).__name__}); move it away and run again") from None


class Runner:
    """Runs cells in a folder, one set each in `sets/`.

    Args:
        folder: where.
        budget: networks and epochs of each cell.
        seed: of the evaluations.
        judge: for distillations that are judged on the way.
        arch_shape: departures of the evaluated networks from their architecture.
        device: where.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        *,
        judge: Judge,
        arch_shape: NetworkShape,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self._sets, self._judge = folder / "sets", judge
        protocol = PROTOCOLS.get("dm")
        self._evaluation = Evaluation(
            shape=arch_shape,
            repeats=budget.repeats,
            protocol=protocol if budget.epochs is None else protocol.changed(epochs=budget.epochs),
            seed=seed,
            device=pick_device(device),
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
        distilled, seconds = self._distil(cell, dataset)
        if seconds is None and before is not None:
            seconds = before.distil_seconds
        return self._result(cell, self._score(cell, distilled, dataset), seconds)

    def _dataset(self, name: str) -> ImageDataset:
        if name not in self._datasets:
            self._datasets[name] = load_dataset(name)
        return self._datasets[name]

    def _distil(self, cell: Cell, dataset: ImageDataset) -> tuple[DistilledDataset, float | None]:
        """Make the set, go on with it, or find it; the seconds are given where it was made in one go."""
        out = self._sets / cell.folder()
        if cell.continues is not None and not out.exists():
            _copy(self._sets / cell.continues.folder(), out)
        fresh = not out.exists()
        started = time.perf_counter()
        distilled = run(dataset, cell.settings, out=out, resume=not fresh, judge=self._judge)
        return distilled, time.perf_counter() - started if fresh else None

    def _score(self, cell: Cell, distilled: DistilledDataset, dataset: ImageDataset) -> Score:
        evaluation = self._of(cell)
        found = _matching(distilled.scores, evaluation)
        if found is None:
            found = evaluation.of_distilled(distilled, dataset)
            distilled.add_score(found)
        return found

    def _random(self, cell: Cell, dataset: ImageDataset) -> Score:
        """Train each network on a draw of its own: one draw for all would say little of random subsets."""
        folder = self._sets / cell.folder()
        scores = load_scores(folder)
        evaluation = self._of(cell)
        found = _matching(scores, evaluation)
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


def _matching(scores: Sequence[Score], evaluation: Evaluation) -> Score | None:
    """Find the score that this evaluation would give."""
    for score in scores:
        asked = (evaluation.arch, evaluation.protocol, evaluation.seed, evaluation.repeats, asdict(evaluation.shape))
        if (score.arch, score.protocol, score.seed, len(score.runs), score.shape) == asked:
            return score
    return None


def _copy(source: Path, target: Path) -> None:
    """Copy a run so that it can be made longer; a copy cut short is not taken for one."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    note(f"going on from {source}")
    shutil.copytree(source, partial)
    (partial / "scores.json").unlink(missing_ok=True)  # they are those of fewer steps
    partial.rename(target)

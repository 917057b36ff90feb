"""The table that puts runs beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from atom_distill.artifact.scores import Score
from atom_distill.base.progress import duration
from atom_distill.report.reading import RunView


@dataclass(frozen=True)
class Cell:
    """A value to read, to sort by, and to explain.

    Attributes:
        text: for people.
        key: to sort by; None is last.
        hint: more, for those who ask.
    """

    text: str
    key: float | str | None = None
    hint: str = ""


NOTHING = Cell("-")


@dataclass(frozen=True)
class Column:
    """A column of accuracies: nothing but scores that compare goes into one.

    Attributes:
        dataset: whose test split.
        network: in words.
        protocol: its name.
    """

    dataset: str
    network: str
    protocol: str


@dataclass
class Table:
    """Runs by rows.

    Attributes:
        heads: of the columns that are not accuracies.
        columns: of accuracies, test accuracy in percent.
        rows: cells of the heads, then of the columns.
    """

    heads: list[str]
    columns: list[Column]
    rows: list[list[Cell]] = field(default_factory=list)


_HEADS = ["run", "method", "data set", "ipc", "images", "compression", "steps", "seconds"]
_SUBJECTS = {"random": "random real images", "whole": "the whole training set"}


def comparison(views: Sequence[RunView]) -> Table:
    """Make the table of some runs, and of what was scored beside them for reference."""
    scores = [score for view in views for score in view.scores]
    columns = list(dict.fromkeys(_column(score) for score in scores))
    table = Table(_HEADS, columns)
    for view in views:
        mine = [score for score in view.scores if score.subject == "distilled"]
        for which in ("last", "best"):
            found = [score for score in mine if score.which == which]
            if found or which == "last":
                table.rows.append([*_facts(view, which), *(_cell(found, column, view.steps) for column in columns)])
    for kind, images in dict.fromkeys((score.subject, score.images) for score in scores if score.subject in _SUBJECTS):
        found = [score for score in scores if (score.subject, score.images) == (kind, images)]
        table.rows.append([*_reference(found[0]), *(_cell(found, column, None) for column in columns)])
    return table


def network_name(score: Score) -> str:
    """Name a network with its departures from the architecture."""
    changes = [f"{name} {value}" for name, value in score.shape.items() if value is not None]
    return f"{score.arch} ({', '.join(changes)})" if changes else score.arch


def _column(score: Score) -> Column:
    return Column(score.dataset, network_name(score), score.protocol.name)


def _facts(view: RunView, which: str) -> list[Cell]:
    name = view.name if which == "last" else f"{view.name} (best on held-out images)"
    images, seconds = len(view.labels), view.record.get("seconds")
    train = view.dataset.get("train_size")
    ratio = train / images if isinstance(train, int) and images else None
    return [
        Cell(name, name.lower(), str(view.folder)),
        Cell(view.method, view.method),
        Cell(str(view.dataset.get("name", "-")), str(view.dataset.get("name", ""))),
        _ipc(view),
        Cell(f"{images:,}", images) if images else NOTHING,
        NOTHING if ratio is None else Cell(f"{ratio:,.0f} : 1", ratio, f"{train:,} training images for {images:,}"),
        Cell(f"{view.steps:,}", view.steps) if view.moves else NOTHING,
        Cell(f"{seconds:,.0f}", seconds, duration(seconds)) if isinstance(seconds, int | float) else NOTHING,
    ]


def _ipc(view: RunView) -> Cell:
    """Give what was asked for, which is known where the classes of the images are not; else what is there."""
    asked = view.settings.get("ipc")
    ipc = {asked} if isinstance(asked, int) else set(view.per_class.tolist())
    return Cell(str(min(ipc)), min(ipc)) if len(ipc) == 1 else _range(ipc)


def _range(ipc: set[int]) -> Cell:
    return Cell(f"{min(ipc)} to {max(ipc)}", min(ipc), "classes differ in size") if ipc else NOTHING


def _reference(score: Score) -> list[Cell]:
    name = f"{_SUBJECTS[score.subject]}"
    ipc = NOTHING if score.ipc is None or score.subject == "whole" else Cell(str(score.ipc), score.ipc)
    return [
        Cell(name, name, "for reference"),
        Cell("-", "-"),
        Cell(score.dataset, score.dataset),
        ipc,
        Cell(f"{score.images:,}", score.images),
        *(NOTHING,) * 3,
    ]


def _cell(scores: Sequence[Score], column: Column, steps: int | None) -> Cell:
    """Show the score with the most networks, the latest of equals, and mention the others."""
    mine = [score for score in scores if _column(score) == column]
    if not mine:
        return NOTHING
    chosen = max(reversed(mine), key=lambda score: len(score.runs))
    text = f"{chosen.mean:.1f} ± {chosen.std:.1f}" if len(chosen.runs) > 1 else f"{chosen.mean:.1f}"
    hints = [_hint(score, steps) for score in [chosen, *(score for score in mine if score is not chosen)]]
    return Cell(text, chosen.mean, "; also ".join(hints))


def _hint(score: Score, steps: int | None) -> str:
    parts: list[Any] = [f"{score.mean:.1f} ± {score.std:.1f}", f"{len(score.runs)} networks", score.precision]
    parts += ["soft labels"] if score.labels == "soft" else []
    parts += [f"seed {score.seed}"]
    if steps is not None and score.steps is not None and score.steps != steps:
        parts += [f"of the images after step {score.steps}"]
    return ", ".join(map(str, parts))

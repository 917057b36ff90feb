"""The table of scores: runs as rows, and a column for each kind of score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atom_distill.artifact.scores import Score
from atom_distill.base.progress import duration
from atom_distill.report.reading import RunView


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        text: what it shows.
        key: to sort by; None is sorted last.
        hint: its tooltip.
    """

    text: str
    key: float | str | None = None
    hint: str = ""


EMPTY = Cell("-")


@dataclass(frozen=True)
class Column:
    """A column of accuracies, which has scores only that are comparable.

    Attributes:
        dataset: whose test split was scored.
        network: architecture and its departures from the default.
        protocol: its name.
        labels: what the networks learned, class numbers or soft labels.
    """

    dataset: str
    network: str
    protocol: str
    labels: str = "hard"


@dataclass(frozen=True)
class Table:
    """A table of runs.

    Attributes:
        heads: of the columns that are not accuracies.
        columns: of test accuracy (percent).
        rows: cells of the heads, then of the columns.
    """

    heads: list[str]
    columns: list[Column]
    rows: list[list[Cell]]


_ROUGHLY = 10
"""Ratio from which its decimals do not matter."""
_HEADS = ["run", "method", "data set", "ipc", "images", "bytes", "compression", "steps", "seconds"]
_REFERENCES = {"random": "random real images", "whole": "the whole training set"}


def comparison(views: Sequence[RunView]) -> Table:
    """Return the table of some runs, and of the references that were scored with them."""
    scores = [score for view in views for score in view.scores]
    table = Table(_HEADS, list(dict.fromkeys(column_of(score) for score in scores)), [])

    def add_row(facts: dict[str, Cell], found: Sequence[Score], steps: int | None) -> None:
        cells = [_cell(found, column, steps) for column in table.columns]
        table.rows.append([*(facts.get(head, EMPTY) for head in _HEADS), *cells])

    for view in views:
        scored = [score for score in view.scores if score.subject == "distilled"]
        for which in ("last", "best"):
            found = [score for score in scored if (score.which, score.first) == (which, None)]
            if found or which == "last":
                add_row(_facts(view, which), found, view.steps)
            for first in sorted({score.first for score in scored if score.which == which and score.first is not None}):
                found = [score for score in scored if (score.which, score.first) == (which, first)]
                add_row(_facts_of_head(view, found[0]), found, view.steps)
    references = [score for score in scores if score.subject in _REFERENCES]
    several = len({(score.dataset, score.preprocess) for score in references}) > len(
        {one.dataset for one in references}
    )
    for key in dict.fromkeys(_of_reference(score) for score in references):
        found = [score for score in references if _of_reference(score) == key]
        add_row(_reference_facts(found[0], name_preprocess=several), found, None)
    return table


def _of_reference(score: Score) -> tuple[object, ...]:
    """Return what must be equal for two scores to be of one reference."""
    return score.subject, score.dataset, score.preprocess, score.images, score.form


def column_of(score: Score) -> Column:
    """Return the column of a score: all that it must share with those that it is compared with."""
    return Column(score.dataset, score.network, score.protocol.name, score.labels)


def _facts(view: RunView, which: str) -> dict[str, Cell]:
    name = view.name if which == "last" else f"{view.name} (best on held-out images)"
    images, train, seconds = len(view.labels), view.dataset.get("train_size"), view.record.get("seconds")
    per_stored = view.images_per_stored
    real = train * view.values_per_image if isinstance(train, int) and view.values_per_image else None
    ratio = real / view.stored_bytes if real and view.stored_bytes else None
    stored = f"{per_stored:.3g} for each stored one" if per_stored > 1 else ""
    timed = seconds if isinstance(seconds, int | float) else None
    return {
        "run": Cell(name, name.lower(), str(view.folder)),
        "method": Cell(view.method, view.method),
        "data set": Cell(str(view.dataset.get("name", "-")), str(view.dataset.get("name", ""))),
        "ipc": _ipc(view),
        "images": _number(images or None, hint=stored),
        "bytes": _number(view.stored_bytes, hint="values, soft labels and transform"),
        "compression": _number(
            ratio,
            "{:,.0f} : 1" if ratio is None or ratio >= _ROUGHLY else "{:,.1f} : 1",
            f"{real:,} bytes of training images for {view.stored_bytes:,}" if ratio else "",
        ),
        "steps": _number(view.steps if view.is_optimized else None),
        "seconds": _number(timed, hint="" if timed is None else duration(timed)),
    }


def _facts_of_head(view: RunView, score: Score) -> dict[str, Cell]:
    """Return the facts of the first images of a run, which have a score of their own."""
    facts = _facts(view, score.which)
    name = f"{facts['run'].text}, first {score.first}"
    return {
        **{head: facts[head] for head in ("method", "data set", "steps", "seconds")},
        "run": Cell(name, name.lower(), str(view.folder)),
        "ipc": _number(score.first),
        "images": _number(score.images),
    }


def _number(value: float | None, form: str = "{:,.0f}", hint: str = "") -> Cell:
    return EMPTY if value is None else Cell(form.format(value), value, hint)


def _ipc(view: RunView) -> Cell:
    """Return the ipc of the settings, which is known even if the classes of the images are not, or a range."""
    setting = view.settings.get("ipc")
    ipc = {setting} if isinstance(setting, int) else set(view.per_class.tolist())
    if len(ipc) > 1:
        return Cell(f"{min(ipc)} to {max(ipc)}", min(ipc), "classes differ in size")
    return _number(next(iter(ipc), None))


def _reference_facts(score: Score, *, name_preprocess: bool) -> dict[str, Cell]:
    preprocess = score.preprocess if name_preprocess else None
    name = ", ".join(filter(None, [_REFERENCES[score.subject], score.form, preprocess]))
    return {
        "run": Cell(name, name, "for reference"),
        "data set": Cell(score.dataset, score.dataset),
        "ipc": _number(None if score.subject == "whole" else score.ipc),
        "images": _number(score.images),
    }


def _cell(scores: Sequence[Score], column: Column, steps: int | None) -> Cell:
    """Return the score of most networks, the latest of several, with the others in the hint."""
    found = [score for score in scores if column_of(score) == column]
    if not found:
        return EMPTY
    chosen = max(reversed(found), key=lambda score: len(score.runs))
    hints = [_hint(score, steps) for score in [chosen, *(score for score in found if score is not chosen)]]
    return Cell(_shown(chosen), chosen.mean, "; also ".join(hints))


def _shown(score: Score) -> str:
    return score.summary.replace("+-", "±")


def _hint(score: Score, steps: int | None) -> str:
    parts: list[Any] = [_shown(score), f"{len(score.runs)} networks", score.precision]
    parts += [f"seed {score.seed}"]
    if steps is not None and score.steps is not None and score.steps != steps:
        parts += [f"of the images after step {score.steps}"]
    return ", ".join(map(str, parts))

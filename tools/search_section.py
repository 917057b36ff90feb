"""A search as a section of the page of results."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from atom_distill.base import markdown as md
from atom_distill.base.files import read_json_as
from atom_distill.reproduce.results import Record
from atom_distill.search.search_report import HEADER, rows
from atom_distill.search.search_result import Correlation, ProxyQuality
from atom_distill.search.trials import Outcome

_95_PERCENT = 1.96


class Search(BaseModel):
    """The search.json of a finished search."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    verdicts: list[ProxyQuality]
    notes: list[str]
    trials: list[Outcome]
    record: Record


_FILE = TypeAdapter(Search)


def load_search(path: Path) -> Search:
    """Return a search.

    Raises:
        ArtifactError: the file is damaged.
    """
    return read_json_as(_FILE, path, advice="take it from the search's folder again")


def search_section(name: str, search: Search) -> str:
    """Return what a search shows, its table and figure, and how it was made; `name` is that of its file."""
    stem, record = Path(name).stem, search.record
    lines = [
        *(f"## Architecture search: {stem}", "", headline(search), "", md.table(HEADER, rows(search.verdicts)), ""),
        *(f"![accuracy on each proxy against that after training on the whole set](images/search-{stem}.png)", ""),
        *(f"- {note}" for note in search.notes),
        "",
        f"Every figure is in [{name}](../results/search/{name}), made by `{record.command}` at commit "
        f"{record.commit or 'unknown'}, torch {record.torch}, {record.machine}.",
        "",
    ]
    return "\n".join(lines)


def headline(search: Search) -> str:
    """Return which proxy ranks best, and whether the others may rank as well; and what the proxies chose."""
    known = [(one.proxy, one.overall) for one in search.verdicts if one.proxy != "whole" and one.overall is not None]
    ranked = sorted(known, key=lambda pair: -pair[1].spearman)
    told = []
    if ranked:
        (best, correlation), *others = ranked
        low, high = interval(correlation)
        within, below = (
            ", ".join(f"{name} {one.spearman:.2f}" for name, one in others if (one.spearman >= low) is inside)
            for inside in (True, False)
        )
        told.append(
            f"Highest rank correlation (Spearman, {correlation.size} architectures): {best} {correlation.spearman:.2f}"
            f", 95 % interval {low:.2f} to {high:.2f}{within and f'; within it {within}'}"
            f"{below and f'; below it {below}'}."
        )
    chosen = [f"{one.proxy} {one.chosen_accuracy:.1f}" for one in search.verdicts if one.chosen_accuracy is not None]
    if chosen:
        told.append(f"Test accuracy of the architecture that each ranks first, %: {', '.join(chosen)}.")
    return " ".join(told)


def interval(correlation: Correlation) -> tuple[float, float]:
    """Return the 95 % interval of Spearman's rho; (-1, 1) for three architectures or a perfect ranking.

    Source: Bonett & Wright, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65 (2000): Fisher's z with the variance (1 + rho^2 / 2) / (n - 3).
    """
    rho, size = correlation.spearman, correlation.size
    if size <= 3 or abs(rho) == 1:
        return -1.0, 1.0
    error = math.sqrt((1 + rho**2 / 2) / (size - 3))
    return math.tanh(math.atanh(rho) - _95_PERCENT * error), math.tanh(math.atanh(rho) + _95_PERCENT * error)

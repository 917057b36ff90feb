"""Write docs/results.md and its figures from the committed results: `make results`. No figure is typed by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from atom_distill.base import markdown as md
from atom_distill.base.errors import AtomError
from atom_distill.base.files import write_text
from atom_distill.reproduce.cell import Result
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.plot import plot
from atom_distill.reproduce.results import Record, Results, load_results
from atom_distill.reproduce.table_layout import grid, markdown
from atom_distill.reproduce.titles import TITLES
from atom_distill.search.search_report import scatter
from search_section import load_search, search_section
from summary_table import summary_table

ROOT = Path(__file__).resolve().parent.parent
_PLOTTED = ("table1", "cross-arch", "lambda", "curve")
"""Tables with figures."""
_HEAD = """\
# Results

Built by `make results` from what `atom reproduce` wrote to `results/tables/`, and `atom search` to `results/search/`.
Each table names its file, which holds the accuracies of all networks, the settings, the versions and the machine.
"""


def results_page(folder: Path) -> str:
    """Return the page of all tables and searches in a folder of results.

    Raises:
        ArtifactError: a file is damaged.
    """
    tables = _tables(folder)
    table1 = [result for one in tables.values() if one.table == "table1" for result in one.accuracies()]
    summary = summary_table(table1)
    parts = [_HEAD, *([f"## CIFAR-10 in short\n\n{summary}\n"] if summary else [])]
    parts += [_section(name, results) for name, results in tables.items()]
    searches = sorted((folder / "search").glob("*.json"))
    return "\n".join([*parts, *(search_section(path.name, load_search(path)) for path in searches)])


def write_figures(folder: Path, images: Path) -> None:
    """Draw the figures of the page.

    Args:
        folder: of results.
        images: where they go.

    Raises:
        ArtifactError: a file is damaged.
    """
    for name, results in _tables(folder).items():
        for figure, shown in _figures(name, results).items():
            plot(results.table, shown, images / figure)
    for path in sorted((folder / "search").glob("*.json")):
        search = load_search(path)
        scatter(search.verdicts, search.trials, images / f"search-{path.stem}.png")


def _tables(folder: Path) -> dict[str, Results]:
    """Return the tables by the names of their files, in the order of the page."""
    tables = {path.name: load_results(path) for path in sorted((folder / "tables").glob("*.json"))}
    names = sorted(tables, key=lambda name: (list(TITLES).index(tables[name].table), name))
    return {name: tables[name] for name in names}


def _section(name: str, results: Results) -> str:
    """Return a table with its figure, its remark, and how it was made."""
    figures = "".join(f"![{TITLES[results.table]}](images/{file})\n\n" for file in _figures(name, results))
    remark = f"{results.remark}\n\n" if results.remark else ""
    made = "\n".join(f"- {_line(record)}" for record in results.records)
    file = f"[{name}](../results/tables/{name})"
    return (
        f"{markdown(results.table, results.cells)}\n{figures}{remark}{_hours(results.accuracies())}"
        f"Every figure is in {file}, made by\n\n{made}\n"
    )


def _figures(name: str, results: Results) -> dict[str, list[Result]]:
    """Return the figures of a table by file name, with the cells that each shows: of `table1`, one per data set."""
    figures: dict[str, list[Result]] = {}
    for result in results.accuracies() if results.table in _PLOTTED else []:
        dataset = f"-{result.column.split()[0]}" if results.table == "table1" else ""
        figures.setdefault(f"results-{Path(name).stem}{dataset}.png", []).append(result)
    return figures


def _hours(results: Sequence[Result]) -> str:
    """Return a table of how long the cells took."""
    if not results:
        return ""
    told = "Hours of distillation + evaluation; a dash where the set already existed:"
    return f"{told}\n\n{md.table(*grid(results, _hours_of))}\n\n"


def _hours_of(result: Result | Cost) -> str:
    if isinstance(result, Cost):
        return "-"
    distilled = "-" if result.distill_seconds is None else f"{result.distill_seconds / 3600:.2f}"
    return f"{distilled} + {result.evaluate_seconds / 3600:.2f}"


def _line(record: Record) -> str:
    machine = f"{record.machine}, {record.threads} threads"
    cells = f"; cells: {', '.join(record.cells)}" if record.cells else ""
    return f"`{record.command}` at commit {record.commit or 'unknown'}, torch {record.torch}, {machine}{cells}"


def main() -> None:
    """Write the page and its figures."""
    write_text(ROOT / "docs" / "results.md", results_page(ROOT / "results"))
    write_figures(ROOT / "results", ROOT / "docs" / "images")


if __name__ == "__main__":
    try:
        main()
    except AtomError as error:
        sys.exit(str(error))

"""Write docs/results.md from the committed results: `make results`. No figure in it is typed by hand."""

from __future__ import annotations

import sys
from pathlib import Path

from atom_distill.base.errors import AtomError
from atom_distill.base.files import write_text
from atom_distill.reproduce.results import Record, Results, load_results
from atom_distill.reproduce.table_layout import markdown
from atom_distill.reproduce.titles import TITLES

_HEAD = """\
# Results

Built by `make results` from what `atom reproduce` wrote to `results/tables/`. Each table names its file, which holds
the accuracies of all networks, the settings, the versions and the machine.
"""


def results_page(folder: Path) -> str:
    """Return the page of all tables in a folder of results.

    Raises:
        ArtifactError: a file is damaged.
    """
    tables = {path.name: load_results(path) for path in sorted(folder.glob("*.json"))}
    names = sorted(tables, key=lambda name: (list(TITLES).index(tables[name].table), name))
    return "\n".join([_HEAD, *(_section(name, tables[name]) for name in names)])


def _section(name: str, results: Results) -> str:
    """Return a table, its remark, and how it was made."""
    remark = f"{results.remark}\n\n" if results.remark else ""
    made = "\n".join(f"- {_line(record)}" for record in results.records)
    file = f"[{name}](../results/tables/{name})"
    return f"{markdown(results.table, results.cells)}\n{remark}Every figure is in {file}, made by\n\n{made}\n"


def _line(record: Record) -> str:
    machine = f"{record.machine}, {record.threads} threads"
    return f"`{record.command}` at commit {record.commit or 'unknown'}, torch {record.torch}, {machine}"


if __name__ == "__main__":
    try:
        write_text(Path(sys.argv[2]), results_page(Path(sys.argv[1])))
    except AtomError as error:
        sys.exit(str(error))

"""Collect the figures of finished runs, and write the tables of docs/frontier.md from them.

    atom distill cifar10 --bytes 3072 --preset fast --out runs/c10-3kb
    atom evaluate runs/c10-3kb
    python tools/frontier.py collect runs/c10-3kb      # into results/frontier.json
    python tools/frontier.py table                     # into docs/frontier.md

A run that is collected again replaces the entries of the same protocol, network and labels; all others stay. Runs are
told apart by the names of their folders.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from accuracy_per_byte.entry import entries_of
from accuracy_per_byte.figures import load_figures, merged, save_figures
from accuracy_per_byte.tables import tables
from atom_distill.base.errors import ArtifactError, AtomError
from atom_distill.base.files import write_text
from atom_distill.base.plain_text import one_line

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tables of tools/frontier.py -->", "<!-- end of the tables -->"


def collect(runs: Sequence[Path], figures: Path) -> None:
    """Add the scores of runs to a file of figures.

    Raises:
        ArtifactError: a folder is not a run with scores, or the file is damaged.
    """
    new = [entry for run in runs for entry in entries_of(run)]
    save_figures(figures, merged(load_figures(figures), new))
    for entry in new:
        print(f"{entry.run}: {entry.mean:.1f} +- {entry.std:.1f} % ({entry.arch}, {entry.protocol}, {len(entry.runs)})")


def with_tables(page: str, tables: str) -> str:
    """Return a page with other tables between its two marks.

    Raises:
        ArtifactError: it does not have the two marks, once each and in this order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in before + after:
        raise ArtifactError(f"the page needs the lines {BEGIN} and {END}, once each; the tables go between them")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def write_tables(figures: Path, page: Path) -> None:
    """Write the tables of all figures into a page.

    Raises:
        ArtifactError: the file is damaged, or the page is missing or lacks the marks.
    """
    if not page.is_file():
        raise ArtifactError(f"there is no page {page}; give one with the lines {BEGIN} and {END}")
    write_text(page, with_tables(page.read_text(encoding="utf-8"), tables(load_figures(figures).entries)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 where something is for the user to correct."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect", help="add the scores of finished runs to the figures")
    collecting.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run that was evaluated")
    writing = commands.add_parser("table", help="write the tables of the page")
    writing.add_argument("--page", type=Path, default=ROOT / "docs" / "frontier.md", help="page with the two marks")
    for command in (collecting, writing):
        command.add_argument("--json", type=Path, default=ROOT / "results" / "frontier.json", help="file of figures")
    options = parser.parse_args(arguments)
    try:
        if options.command == "collect":
            collect(options.runs, options.json)
        else:
            write_tables(options.json, options.page)
    except (AtomError, OSError) as error:
        print(f"frontier {options.command}: {one_line(str(error))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Results on standard output: for people as tables, for scripts as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from atom_distill.base.plain_text import one_line
from atom_distill.base.progress import is_main_process

_UNLIMITED = 1 << 16  # characters


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print_line(json.dumps(value, indent=2, default=str))


def print_line(text: str = "") -> None:
    """Print a line; of several ranks the first one speaks."""
    if is_main_process():
        sys.stdout.write("\n".join(map(one_line, text.split("\n"))) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people; what it shows is text, never markup."""
    if not is_main_process():
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def text(value: str) -> Text:
        return Text(one_line(value))

    table = Table(title=text(title), title_justify="left")
    for index, column in enumerate(columns):
        # The names of the rows stay on one line; a word too long for another column continues on the next line.
        widest = max(map(len, column.split()), default=None)
        table.add_column(text(column), no_wrap=index == 0, overflow="fold", min_width=widest)
    for row in rows:
        table.add_row(*map(text, row))
    console = Console()
    # A narrow terminal folds the lines of a wide table; a table of its width would lack columns.
    least = console.measure(table, options=console.options.update(max_width=_UNLIMITED)).minimum
    console.width = max(console.width, least + len(columns))  # at the least width itself, rich may still cut a column
    console.print(table)

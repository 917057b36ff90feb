"""Markdown elements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from atom_distill.base.plain_text import one_line


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table: header, rule and rows of Markdown, without a final line break; a `|` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, cells))} |" for cells in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", one_line(text))


def escaped(text: str) -> str:
    """Return Markdown that shows a text as it is, on one line."""
    return re.sub(r"([\\`*<>\[\]|&])", r"\\\1", one_line(text))

"""Text in a cell of a Markdown table."""

from __future__ import annotations

import re

_CODE = re.compile(r"(`[^`]*`)")


def cell(text: str) -> str:
    """Keep a text from being read as Markdown, but for code, and keep it in its cell."""
    parts = _CODE.split(" ".join(text.split()))
    marked = [part if part.startswith("`") else re.sub(r"([<*_\[\]])", r"\\\1", part) for part in parts]
    return "".join(marked).replace("|", r"\|")

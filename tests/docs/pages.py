"""The pages that people read, taken apart: blocks, code in lines, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown.extensions.toc import slugify, strip_tags, unique

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)

_FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1[ \t]*$", re.S | re.M)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
_FORMULA = re.compile(r"\$`[^`]+`\$")
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page that it begins in."""

    language: str
    text: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """Find the fenced blocks of a page, in their order."""
    return [Block(found[2].strip(), found[3], text[: found.start()].count("\n") + 1) for found in _FENCE.finditer(text)]


def prose_of(text: str) -> str:
    """Leave blocks and formulas out."""
    return _FORMULA.sub("", _FENCE.sub("", text))


def code_in_lines(text: str) -> list[str]:
    """Find what stands between backticks outside of blocks."""
    return [" ".join(found[2].split()) for found in _CODE.finditer(prose_of(text))]


def links_of(text: str) -> list[str]:
    """Find where links and pictures of a page point."""
    return _LINK.findall(_CODE.sub("", prose_of(text)))


def anchors_of(text: str) -> set[str]:
    """Name the headings of a page as the site and GitHub do."""
    taken: set[str] = set()
    for heading in _HEADING.findall(prose_of(text)):
        unique(slugify(strip_tags(heading.replace("`", "")), "-"), taken)
    return taken

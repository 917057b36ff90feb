"""Formulas as MathML, which browsers draw without a script: written as GitHub reads them too."""

from __future__ import annotations

from re import Match
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor

_INLINE = r"\$`([^`]+)`\$"
_BEFORE_CODE = 195
"""Python-Markdown reads backticks at 190."""


class _Inline(InlineProcessor):  # type: ignore[misc]  # the library has no types
    def handleMatch(self, m: Match[str], data: str) -> tuple[Element | str, int, int]:  # noqa: N802 (its name)
        return self.md.htmlStash.store(convert(m.group(1))), m.start(0), m.end(0)


class InlineMath(Extension):  # type: ignore[misc]
    """A formula in a line, between a dollar with a backtick and a backtick with a dollar."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 (its name)
        """Read it before code is read."""
        md.inlinePatterns.register(_Inline(_INLINE, md), "math", _BEFORE_CODE)


def fence(source: str, *_: Any, **__: Any) -> str:
    """Turn the inside of a fence called math into a formula of its own, as SuperFences asks for it."""
    return f'<div class="formula">{convert(source, display="block")}</div>'

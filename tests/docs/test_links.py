"""Links of the pages point to files and headings that are there; those to elsewhere have the form of an address."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs.pages import PAGES, anchors_of, links_of

ABROAD = re.compile(r"https://[\w.-]+\.[a-z]{2,}(?:/[\w./~%+=#-]*)?")


def fault(link: str, page: Path) -> str | None:
    """Say what is wrong with a link of a page."""
    if link.partition(":")[0] in ("http", "https"):
        return None if ABROAD.fullmatch(link) else "is no address"
    parts = urlsplit(link)
    if parts.scheme or link.startswith("/"):
        return "points out of the project"
    target = (page.parent / parts.path).resolve() if parts.path else page
    if not target.exists():
        return "points to nothing"
    if parts.fragment and parts.fragment not in anchors_of(target.read_text("utf-8")):
        return f"points to no heading of {target.name}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_point_somewhere(page: Path) -> None:
    found = {link: fault(link, page) for link in links_of(page.read_text("utf-8"))}
    assert {link: what for link, what in found.items() if what} == {}


def test_links_are_found() -> None:
    links = [link for page in PAGES for link in links_of(page.read_text("utf-8"))]
    assert len([link for link in links if link.startswith("https:")]) > 3
    assert len([link for link in links if "#" in link and not link.startswith("https:")]) > 5
    assert len(links) > 60


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[a](there.md)", None),
        ("[a](there.md#the-second-part)", None),
        ("[a](#here)", None),
        ("![picture [of it]](there.md)", None),
        ("[a](https://example.org/a_b/c-d#e)", None),
        ("[a](nowhere.md)", "points to nothing"),
        ("[a](there.md#third)", "points to no heading of there.md"),
        ("[a](#nowhere)", "points to no heading of page.md"),
        ("[a](/there.md)", "points out of the project"),
        ("[a](mailto:a@b.org)", "points out of the project"),
        ("[a](http://example.org)", "is no address"),
        ("[a](https://example)", "is no address"),
    ],
)
def test_a_fault_is_found(text: str, what: str | None, tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# There\n\n## The `second` part\n\n```\n# third\n```\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\n{text}\n")
    (link,) = links_of(page.read_text())
    assert fault(link, page) == what


def test_links_in_code_are_no_links() -> None:
    assert links_of("`[a](b.md)` and\n```python\nx[0](1)\n```\n") == []

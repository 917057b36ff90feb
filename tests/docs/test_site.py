"""The site: it builds without a warning, is whole without a network, and its references have all there is."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import atom_distill
from atom_distill.config.distill import DistillConfig
from command_page import command_names, help_of
from docs.pages import ROOT
from report.browser import started, window

pytest.importorskip("mkdocs", reason="the site needs the extra [docs]")
pytestmark = pytest.mark.slow

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Elements by which a page fetches something at once; those of `link` are judged by what they are for."""
FETCHED = {"stylesheet", "preconnect", "preload", "modulepreload", "icon", "dns-prefetch", "prefetch", "manifest"}


class Page(HTMLParser):
    """What a page has: identities, what it fetches, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.leads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag in LOADS and LOADS[tag] in given:
            self.fetched.append(given[LOADS[tag]])
        if tag == "link" and set(given.get("rel", "").split()) & FETCHED:
            self.fetched.append(given["href"])
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """The built pages, and what mkdocs warned of."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    told: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mkdocs").addHandler(listener)
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    yield folder, told
    logging.getLogger("mkdocs").removeHandler(listener)


@pytest.fixture(scope="module")
def pages(site: tuple[Path, list[str]]) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in site[0].rglob("*.html")}


def read(site: tuple[Path, list[str]], name: str) -> str:
    """Give the text of a page, without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", (site[0] / name).read_text("utf-8")))


def test_it_builds_without_a_warning(site, pages):
    assert site[1] == []
    assert len(pages) > 15


def test_pages_fetch_nothing_from_elsewhere(site, pages):
    for path, page in pages.items():
        assert page.fetched, path
        assert [url for url in page.fetched if urlsplit(url).scheme not in ("", "data") or url.startswith("//")] == []
    for sheet in site[0].rglob("*.css"):
        for url in re.findall(r"url\(([^)]*)\)|@import ([^;]*)", sheet.read_text("utf-8")):
            assert not re.match(r"[\"']?(https?:)?//", "".join(url)), sheet


def test_every_link_of_every_page_arrives(pages):
    for path, page in pages.items():
        if path.name == "404.html":  # it is served in place of any page, so it names places from the root
            continue
        for link in [*page.leads, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].ids | {"__comments"}, f"{path.name}: {link}"


def test_the_reference_has_every_option_of_every_command(site):
    text = read(site, "commands.html")
    assert len(command_names()) == 10
    for command in command_names():
        told = help_of(command)
        assert f"atom {command}" in text
        for option in (option for group in told.groups for option in group.options):
            assert option.names in text, option
            assert option.meaning.replace("`", "") in " ".join(text.split()), option


def test_options_are_read_from_the_help_as_they_stand_there():
    groups = {group.title: group for group in help_of("distill").groups}
    options = {option.names: option for option in groups["settings options"].options}
    assert len(options) == len(DistillConfig.model_fields)
    assert options["--batch-real INT"].meaning == "Real images per class and step (images)."
    assert options["--batch-real INT"].default == "128"
    assert options["--memory FLOAT"].default == "no limit"
    own = {option.names: option.default for option in groups["method-settings options"].options}
    assert (own["--spatial, --no-spatial"], own["--task-balance FLOAT"]) == (
        "on",
        "0.01 up to 32x32 and for dm, else 0.02",
    )
    assert groups["settings options"].text == "What the run computes, and how."


def test_the_reference_has_every_public_name_and_setting(site):
    text, page = read(site, "api.html"), (site[0] / "api.html").read_text("utf-8")
    for name in atom_distill.__all__:
        if name != "__version__":
            assert f"ad.{name}" in text, name
    for name in ("distill", "evaluate", "DistilledDataset.load"):
        assert re.search(rf'id="atom_distill\.[\w.]*\.?{re.escape(name)}"', page), name
    for name in DistillConfig.model_fields:
        assert name in text, name
    for registry in (atom_distill.METHODS, atom_distill.MODELS, atom_distill.PROTOCOLS):
        for name in registry:
            assert name in text, name


def test_nothing_generated_is_left_out(site):
    for path in site[0].rglob("*.html"):
        text = path.read_text("utf-8")
        assert "generated:" not in text.split("<article")[-1], path
        assert "$`" not in text or path.name == "contributing.html", path  # which says how to write them
    assert read(site, "changelog.html").count("atom") > 10


def test_formulas_are_mathml(site):
    page = (site[0] / "how-it-works.html").read_text("utf-8")
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"') == 5
    assert page.count('display="inline"') > 10


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


@pytest.mark.parametrize("width", [1280, 375])
def test_a_browser_opens_every_page_without_a_word(site, pages, browser, width):
    with window(browser, width, 800) as opened:
        for path in pages:
            if path.name == "404.html":
                continue
            opened.page.goto(path.as_uri())
            assert opened.page.evaluate("[...document.images].filter(one => !one.naturalWidth).length") == 0, path
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_search_works_from_a_disk(site, browser):
    with window(browser) as opened:
        opened.page.goto((site[0] / "index.html").as_uri())
        opened.page.locator("[data-md-component=search-query]").click()
        opened.page.keyboard.type("torchrun")
        opened.page.wait_for_selector(".md-search-result__link[href*='scaling-out.html']")

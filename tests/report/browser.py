"""A headless Chromium without network, where one is found."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def chromium() -> str:
    """Give the path of a Chromium; skip the test where there is none."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    found = os.environ.get("ATOM_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no Chromium is found ({', '.join(NAMES)}, or its path in ATOM_CHROMIUM)")
    return found


class Opened:
    """A page in a browser, and all that it said and asked for."""

    def __init__(self, page: Any) -> None:
        self.page, self.said, self.asked = page, [], []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.documentElement.dataset.ready === 'true'")

    def press(self, key: str) -> None:
        """Press a key, and let the page draw what comes of it."""
        self.page.keyboard.press(key)
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def tells(self, selector: str, text: str) -> None:
        """Make sure that an element comes to hold a text: browsers answer events when they have time."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_have_text(text)

    def look(self, selector: str) -> bytes:
        """Take a picture of an element once it has stopped changing."""
        self.page.wait_for_timeout(150)
        return self.page.locator(selector).screenshot()  # type: ignore[no-any-return]


@contextmanager
def started() -> Iterator[Any]:
    """Start a browser."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@contextmanager
def window(running: Any, width: int = 1280, height: int = 900, theme: str = "light") -> Iterator[Opened]:
    """Open a window of a browser, offline and with a memory of its own."""
    context = running.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, offline=True, reduced_motion="reduce"
    )
    yield Opened(context.new_page())
    context.close()

"""The page in a real Chromium, without network: nothing fails, all is drawn, and every control does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from atom_distill.api import distill, load_dataset
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.ops.preprocessing import ChannelNormalization
from atom_distill.report.html_page import make_report
from report.browser import Opened, started, window

UNIFORM = """canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size < 3;
}"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    """A browser, or the test is skipped."""
    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(running: Any, made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run, and three compared."""
    home, runs = tmp_path_factory.mktemp("pages"), {"one": ["atom"], "three": ["atom", "dm", "random"]}
    for name, folders in runs.items():
        report = make_report([made / folder for folder in folders])
        (home / f"{name}.html").write_text(report.html, "utf-8")
    return {name: home / f"{name}.html" for name in runs}


@pytest.fixture(scope="module", params=["one", "three"])
def opened(running: Any, pages: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Opened]:
    with window(running) as page:
        page.open(pages[request.param])
        yield page


@pytest.fixture
def three(running: Any, pages: dict[str, Path]) -> Iterator[Opened]:
    with window(running) as page:
        page.open(pages["three"])
        yield page


def test_nothing_is_said_and_nothing_is_asked_for(opened):
    assert opened.said == []
    assert opened.asked
    assert all(url.startswith(("file:", "data:", "blob:")) for url in opened.asked)


def test_every_image_is_drawn(opened):
    page = opened.page
    cells = page.locator(".cell")
    assert cells.count() == 20
    canvases = page.query_selector_all(".cell canvas, .maps canvas, .chart canvas")
    assert len(canvases) >= 20 * 3 + 2 + 3  # with initial and nearest; two maps; charts
    assert [one.evaluate("canvas => canvas.className") for one in canvases if one.evaluate(UNIFORM)] == []
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0


def test_the_slider_changes_the_images_and_comes_back(opened):
    page = opened.page
    last, text = opened.look("#grid"), page.locator("#step-text").inner_text()
    assert text == "12 of 12"
    page.locator("#step").focus()
    opened.press("Home")
    opened.tells("#step-text", "0 of 12")
    first = opened.look("#grid")
    opened.press("ArrowRight")
    opened.tells("#step-text", "2 of 12")
    assert len({last, first, opened.look("#grid")}) == 3
    opened.press("End")
    assert opened.look("#grid") == last


def test_at_step_0_the_images_are_the_initial_ones(opened):
    page = opened.page
    page.locator("#step").fill("0")
    pixels = "canvas => canvas.toDataURL()"
    cell = page.locator(".cell").nth(7)
    assert cell.locator(".synthetic").evaluate(pixels) == cell.locator(".initial").evaluate(pixels)
    page.locator("#step").fill("6")
    assert cell.locator(".synthetic").evaluate(pixels) != cell.locator(".initial").evaluate(pixels)


def test_the_layer_changes_overlays_maps_and_bars(opened):
    page, seen = opened.page, []
    for layer in ("-1", "0", "1"):
        page.locator("#layer").select_option(layer)
        seen.append(opened.look("#grid"))
    assert len(set(seen)) == 3
    below = []
    for layer in ("0", "1"):
        page.locator("#layer-2").select_option(layer)
        below.append((opened.look(".maps"), opened.look("#chart-channels")))
    assert page.locator("#layer").input_value() == "1"  # both choose the same
    assert below[0][0] != below[1][0]
    assert below[0][1] != below[1][1]
    page.locator("#class").select_option("3")
    assert opened.look("#chart-channels") != below[1][1]
    page.locator("#class").select_option("0")
    page.locator("#layer").select_option("-1")


def test_the_grid_is_walked_by_arrows_and_enlarged_by_enter(opened):
    page = opened.page
    name = "document.activeElement.title"
    page.locator(".cell").first.focus()
    opened.press("ArrowRight")
    page.wait_for_function(f"{name} === '0 2'")
    opened.press("ArrowDown")
    page.wait_for_function(f"{name} === '1 2'")
    opened.press("Enter")
    assert page.locator("#lightbox").is_visible()
    page.wait_for_selector("#lightbox-body[data-index='3']")
    opened.tells("#lightbox-title", "1 2")
    canvases = page.query_selector_all("#lightbox canvas")
    assert len(canvases) == 1 + 1 + 3 + 3  # the image, its beginning, the nearest three, three layers
    assert not any(one.evaluate(UNIFORM) for one in canvases)
    opened.press("ArrowRight")
    page.wait_for_selector("#lightbox-body[data-index='4']")
    opened.press("Escape")
    assert not page.locator("#lightbox").is_visible()
    page.wait_for_function(f"{name} === '2 1'")  # the focus goes to the image that was seen last


def test_what_stands_beside_can_be_put_away_and_images_enlarged(opened):
    page = opened.page
    width = lambda: page.locator(".cell").first.bounding_box()["width"]  # noqa: E731
    page.locator("#zoom").fill("60")
    beside = width()
    page.locator("#companions").uncheck()
    assert width() == pytest.approx(60, abs=1)
    assert beside == pytest.approx(1.5 * 60 + 1, abs=2)
    page.locator("#zoom").fill("120")
    assert width() == pytest.approx(120, abs=1)
    page.locator("#companions").check()


def column(page: Any, index: int) -> list[str]:
    return page.locator(f"#runs-table tbody tr > :nth-child({index + 1})").all_inner_texts()  # type: ignore[no-any-return]


@pytest.fixture
def sized(running: Any, copied, tmp_path: Path) -> Iterator[Opened]:
    """A run whose first images were scored, on a phone."""
    folder = copied("atom")
    run = DistilledDataset.load(folder)
    run.add_score(run.scores[0].model_copy(update={"first": 1}))
    (tmp_path / "sized.html").write_text(make_report([folder]).html, "utf-8")
    with window(running, width=390, height=844) as page:
        page.open(tmp_path / "sized.html")
        yield page


def test_the_first_images_of_each_class_are_shown_alone(sized):
    page = sized.page
    shown = lambda: page.locator(".cell:visible").count()  # noqa: E731
    one, both = (f"{count} of 2, {count * 256 + 1} bytes per class" for count in (1, 2))  # the transform takes 8 bytes
    assert (shown(), page.locator("#size-text").inner_text()) == (20, both)
    page.locator(".cell").nth(3).focus()
    page.locator("#size").focus()
    sized.press("Home")
    sized.tells("#size-text", one)
    assert shown() == 10
    assert page.locator("#size").get_attribute("aria-valuetext") == f"images per class: {one}"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    name = "document.activeElement.title"
    page.locator(".cell[tabindex='0']").focus()
    page.wait_for_function(f"{name} === '0 1'")  # the image that had the focus is hidden
    sized.press("ArrowRight")
    page.wait_for_function(f"{name} === '1 1'")
    sized.press("Enter")
    sized.press("ArrowLeft")
    page.wait_for_selector("#lightbox-body[data-index='0']")
    sized.press("ArrowLeft")
    page.wait_for_selector("#lightbox-body[data-index='18']")
    sized.press("Escape")
    page.locator("#size").focus()
    sized.press("End")
    sized.tells("#size-text", both)
    assert shown() == 20
    assert not page.locator("#chart-sizes canvas").evaluate(UNIFORM)
    assert sized.said == []


def test_runs_without_sizes_have_no_slider_for_them(opened):
    assert opened.page.locator("#sizes").is_hidden()
    assert opened.page.locator("[data-chart=sizes]").is_hidden()


def test_pictures_of_a_stored_image_stand_together(running, tmp_path):
    data, settings = load_dataset("digits"), {"parameterization": "tiles-2", "steps": 1, "width": 4, "batch_real": 4}
    distill(data, 2, out=tmp_path / "tiles", device="cpu", compile="off", show_progress=False, **settings)
    (tmp_path / "tiles.html").write_text(make_report([tmp_path / "tiles"]).html, "utf-8")
    with window(running) as opened:
        opened.open(tmp_path / "tiles.html")
        cells = opened.page.locator(".class-row").first.locator(".cell")
        begin = [place for place in range(8) if "begins-row" in (cells.nth(place).get_attribute("class") or "")]
        assert (cells.count(), begin) == (8, [0, 4])
        left = [cells.nth(place).bounding_box()["x"] for place in range(6)]
        assert left[4] - left[3] > left[3] - left[2] == left[5] - left[4]
        assert "decodes to 4 pictures" in opened.page.locator("#grid-note").inner_text()
        assert opened.said == []


@pytest.fixture
def many(running: Any, tmp_path: Path) -> Iterator[Opened]:
    """A set of 200 classes of two images each, on a phone."""
    names = tuple(f"Class {label}" for label in range(200))
    images = torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels, settings = torch.arange(200).repeat_interleave(2), {"method": "random", "ipc": 2}
    transform = ChannelNormalization(torch.tensor([0.5]), torch.tensor([0.2]))
    made = DistilledDataset.from_images(images, labels, names, transform, settings)
    made.save(tmp_path / "many")
    (tmp_path / "many.html").write_text(make_report([tmp_path / "many"]).html, "utf-8")
    with window(running, width=390, height=844) as page:
        page.open(tmp_path / "many.html")
        yield page


def test_a_class_is_found_among_many(many):
    page = many.page
    titles = lambda: page.locator(".class-row:visible h3").all_inner_texts()  # noqa: E731
    assert len(titles()) == 200
    page.locator("#search").fill(" class 19")
    many.tells("#search-text", "11 of 200")
    assert titles() == ["Class 19", *(f"Class {label}" for label in range(190, 200))]
    assert page.locator(".cell:visible").count() == 22
    page.locator(".cell[tabindex='0']").focus()
    name = "document.activeElement.title"
    page.wait_for_function(f"{name} === 'Class 19 1'")  # the image that had the focus is hidden
    many.press("End")
    page.wait_for_function(f"{name} === 'Class 199 2'")
    page.locator("#search").fill("no such class")
    many.tells("#search-text", "0 of 200")
    assert page.locator(".cell:visible").count() == 0
    page.locator("#search").fill("")
    many.tells("#search-text", "")
    assert len(titles()) == 200
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert many.said == []


def test_few_classes_are_not_searched(opened):
    assert opened.page.locator("#searching").is_hidden()


def test_a_search_hides_nothing_on_a_page_without_one(many, pages, tmp_path):
    """Neither on another page, nor where the same one has fewer classes now."""
    page = many.page
    page.locator("#search").fill("class 19")
    many.tells("#search-text", "11 of 200")
    many.open(pages["one"])
    assert page.locator(".class-row:visible").count() == 10
    many.open(tmp_path / "many.html")
    assert page.locator("#search").input_value() == "class 19"
    (tmp_path / "many.html").write_text(pages["one"].read_text("utf-8"), "utf-8")
    many.open(tmp_path / "many.html")
    assert page.locator(".class-row:visible").count() == 10
    assert many.said == []


def test_only_classes_that_are_shown_have_a_mean(running, made, tmp_path):
    (tmp_path / "few.html").write_text(make_report([made / "atom"], max_images=3).html, "utf-8")
    with window(running) as opened:
        opened.open(tmp_path / "few.html")
        assert opened.page.locator("#class option").all_inner_texts() == ["all classes", "0", "1", "2"]
        assert opened.said == []


def test_the_table_sorts_by_click_and_by_key(three):
    page = three.page
    heads = page.locator("#runs-table thead th").all_inner_texts()
    steps, accuracy = heads.index("steps"), heads.index("convnet\ndm(epochs=3)")
    assert column(page, 0) == ["atom", "dm", "random"]
    page.locator("#runs-table thead button").nth(steps).click()
    page.wait_for_selector(f"#runs-table th:nth-child({steps + 1})[aria-sort=ascending]")
    assert column(page, steps) == ["8", "12", "-"]
    three.press("Enter")  # the button has the focus
    assert column(page, steps) == ["12", "8", "-"]  # what has no value stays last
    page.locator("#runs-table thead button").nth(accuracy).focus()
    three.press("Space")
    found = [float(text.split()[0]) for text in column(page, accuracy)[:2]]
    assert found == sorted(found)
    assert column(page, accuracy)[2] == "-"
    assert page.locator("#runs-table [aria-sort]").count() == 1


def test_another_run_brings_its_own_images_terms_and_example(three):
    page = three.page
    atom = three.look("#grid"), three.look("#chart-terms")
    page.locator("#run-0").focus()
    three.press("ArrowRight")
    page.wait_for_selector("#run-1[aria-selected=true]")
    assert three.look("#grid") != atom[0]
    three.tells("#step-text", "8 of 8")
    assert not page.locator("#chart-terms").is_visible()  # dm has one term, which is the loss
    assert "dm" in page.locator(".code:visible").inner_text()
    page.locator("#run-2").click()
    assert not page.locator("#evolution").is_visible()  # nothing has moved these images
    assert "2 items not shown for random" in page.locator(".notice:visible").inner_text()
    assert three.said == []


def test_settings_that_are_shared_are_shown_on_request(three):
    page = three.page
    row = page.locator("#settings-table tr", has=page.get_by_role("rowheader", name="ipc", exact=True))
    assert row.count() == 0 or not row.is_visible()
    assert page.locator("#settings-table tr.differs", has_text="method").is_visible()
    page.locator("#all-settings").check()
    assert page.locator("#settings-table th", has_text="batch_real").is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "three"])
def test_a_phone_scrolls_no_page_sideways_and_follows_the_theme(running, pages, name, theme):
    with window(running, 375, 812, theme) as opened:
        opened.open(pages[name])
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 200) == (theme == "dark")
        before = opened.look("#chart-loss")
        page.locator("#theme").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
        assert opened.look("#chart-loss") != before
        assert opened.said == []


def test_a_damaged_run_is_a_page_too(running, copied, tmp_path):
    folder = copied("atom")
    for name in ("snapshots.safetensors", "scores.json", "metrics.jsonl", "config.yaml"):
        (folder / name).write_bytes(b"{")
    report = make_report([folder])
    (tmp_path / "page.html").write_text(report.html, "utf-8")
    with window(running) as opened:
        opened.open(tmp_path / "page.html")
        assert opened.said == []
        assert opened.page.locator(".cell").count() == 20
        opened.page.locator(".notice summary").click()
        notice = opened.page.locator(".notice").inner_text()
        for what in ("Settings", "Evolution", "Scores", "Curves"):
            assert f"{what}: " in notice


def test_a_live_page_loads_itself_again_and_keeps_what_was_chosen(running, made, tmp_path):
    html = make_report([made / "atom"], refresh=0.5).html
    (tmp_path / "page.html").write_text(html, "utf-8")
    with window(running) as opened:
        opened.open(tmp_path / "page.html")
        opened.page.locator("#step").fill("2")
        opened.page.wait_for_event("load")
        opened.page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        opened.tells("#step-text", "4 of 12")
        assert opened.said == []

"""`atom report` and `atom watch`: what they write, print and refuse."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from atom_distill.report.reading import RunView
from atom_distill.report.watch_run import watch


def page_data(page: Path) -> dict:
    text = page.read_text("utf-8")
    start = text.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_a_report_is_one_page_that_holds_all_it_needs(atom, run_folder, tmp_path):
    (run_folder / "scores.json").write_text("[]")
    answer = atom("report", run_folder, "--out", tmp_path / "page.html")
    assert answer.code == 0, answer.err
    text = (tmp_path / "page.html").read_text("utf-8")
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>]*)""", markup)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    (run,) = page_data(tmp_path / "page.html")["runs"]
    assert run["labels"] == list(range(10))
    assert [frame["step"] for frame in run["frames"]] == [0, 1, 2, 3, 4]
    assert "not shown for" in answer.out
    assert "atom evaluate" in answer.out
    assert "page.html (" in answer.out


def test_json_names_the_page_and_what_is_missing(atom, run_folder):
    other = shutil.copytree(run_folder, run_folder.parent / "other")
    (other / "snapshots.safetensors").write_bytes(b"")
    found = atom("report --json", run_folder, other).json
    assert found["page"] == "report.html"
    assert found["bytes"] == Path("report.html").stat().st_size
    assert found["runs"] == [str(run_folder), str(other)]
    assert not any(line.startswith("Evolution:") for line in found["missing"][str(run_folder)])
    assert any("snapshots.safetensors is truncated" in line for line in found["missing"][str(other)])


def test_runs_of_one_name_are_told_apart(atom, run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "elsewhere" / run_folder.name)
    assert atom("report --json", run_folder, other).code == 0
    assert [run["name"] for run in page_data(Path("report.html"))["runs"]] == [str(run_folder), str(other)]


def test_names_are_text_and_no_markup(atom, run_folder, tmp_path):
    bad = shutil.copytree(run_folder, tmp_path / "<script>alert(1)<")
    assert atom("report", bad).code == 0
    assert "<script>alert" not in Path("report.html").read_text("utf-8")
    assert page_data(Path("report.html"))["runs"][0]["name"] == "<script>alert(1)<"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("report", "at least one run"),
        ("report nowhere", "nowhere is neither a folder"),
        ("report RUN EMPTY", "is not a run folder"),
        ("report RUN RUN", "given twice"),
        ("report RUN --out page.pdf", "must end in .html, got page.pdf"),
        ("watch nowhere", "nowhere is neither a folder"),
        ("watch EMPTY", "is not a run folder"),
        ("watch RUN --out page", "must end in .html, got page"),
    ],
)
def test_what_cannot_be_shown_is_refused(atom, run_folder, tmp_path, line, message):
    (tmp_path / "empty").mkdir()
    parts = [{"RUN": run_folder, "EMPTY": tmp_path / "empty"}.get(part, part) for part in line.split()]
    answer = atom(parts[0], *parts[1:])
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not list(Path.cwd().glob("*.html"))


def test_without_the_packages_the_extra_is_named(refused, run_folder, monkeypatch):
    monkeypatch.setattr("atom_distill.base.optional.is_available", lambda name: name != "altair")
    assert "pip install 'atom-distill[report]'" in refused("report", run_folder)


def test_a_finished_run_is_watched_once(atom, run_folder):
    answer = atom("watch --json --every 0.1", run_folder)
    assert answer.code == 0, answer.err
    assert answer.json == {"page": "watch.html", "run": str(run_folder), "steps": 4, "finished": True}
    assert page_data(Path("watch.html"))["refresh"] is None
    assert "step 4 of 4, loss" in answer.err


@pytest.mark.slow
def test_a_run_is_watched_to_its_end(run_folder, tmp_path):
    """At each wait another bit of the run comes into being."""
    whole, folder = run_folder, tmp_path / "going"
    folder.mkdir()
    metrics = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)

    def lines(count: int) -> None:
        (folder / "metrics.jsonl").write_text("".join(metrics[:count]))

    happens = iter(
        [
            lambda: lines(2),
            lambda: shutil.copy(whole / "snapshots.safetensors", folder),
            lambda: None,
            lambda: (lines(4), shutil.copytree(whole, folder, dirs_exist_ok=True)),
        ]
    )
    for name in ("config.yaml", "preprocessing.safetensors"):
        shutil.copy(whole / name, folder)
    pages: list[tuple[int, int, float | None, bool]] = []
    out = tmp_path / "watch.html"

    def on_page(view: RunView) -> None:
        found = page_data(out)
        pages.append((len(view.history), len(view.labels), found["refresh"], bool(found["runs"][0]["layers"])))

    last = watch(folder, out, every=7, on_page=on_page, wait=lambda _: next(happens)())
    assert pages == [(0, 0, 7, False), (2, 0, 7, False), (2, 10, 7, False), (4, 10, None, True)]
    assert last.finished


@pytest.mark.parametrize("command", ["report", "watch"])
def test_a_page_that_is_none_of_ours_is_left_alone(atom, run_folder, tmp_path, command):
    mine = tmp_path / "mine.html"
    mine.write_text("precious")
    answer = atom(command, run_folder, "--out", mine)
    assert answer.code == 2
    assert "already exists and is not a report" in answer.err
    assert mine.read_text() == "precious"
    (tmp_path / "folder.html").mkdir()
    assert atom(command, run_folder, "--out", tmp_path / "folder.html").code == 2


def test_a_report_is_written_anew(atom, run_folder, tmp_path):
    for _ in range(2):
        assert atom("report", run_folder, "--out", tmp_path / "page.html").code == 0

"""The sections of the page: each is there, in order, with its data; and a new one needs no change elsewhere."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from atom_distill.report import html_page
from atom_distill.report.html_page import make_report
from atom_distill.report.sections import SECTIONS, Section

PAGE_FILES = {file.name for file in (files("atom_distill.report") / "page").iterdir()}


def test_every_file_of_the_page_has_a_use():
    used = {name for section in SECTIONS for name in (f"{section.name}.html", *section.scripts)}
    assert used | {"page.html", "page.js", "report.css"} == PAGE_FILES


def test_the_page_has_every_section_in_order(made):
    html = make_report([made / "random"]).html
    names = [section.name for section in SECTIONS]
    assert re.findall(r'<section id="(\w+)">', html) == names
    assert re.findall(r'<a href="#(\w+)">', html) == names
    assert all(f">{section.title}</a>" in html for section in SECTIONS)


def test_settings_come_before_the_data_set_and_that_before_the_rest(made):
    html = make_report([made / "atom"]).html
    groups = re.findall(r'<th scope="rowgroup"[^>]*>([^<]*)<', html)
    assert groups == ["settings", "data set", "made with"]
    assert "real = ad.load_dataset(&#34;digits&#34;)\n" in html


def test_a_new_section_gets_its_template_its_data_and_its_script(made, tmp_path, monkeypatch):
    page = tmp_path / "page"
    page.mkdir()
    for file in (files("atom_distill.report") / "page").iterdir():
        (page / file.name).write_bytes(file.read_bytes())
    (page / "sizes.html").write_text("<p>{{ data.total }} images of {{ views[0].name }}</p>")
    (page / "sizes.js").write_text("const sizes = data.sizes;")
    new = Section("sizes", "Sizes", lambda views: {"total": sum(len(view.labels) for view in views)}, ("sizes.js",))
    monkeypatch.setattr(html_page, "SECTIONS", (*SECTIONS, new))
    monkeypatch.setattr(html_page, "files", lambda _: tmp_path)
    html = make_report([made / "random"]).html
    assert "<p>20 images of random</p>" in html
    assert "const sizes = data.sizes;" in html
    data = json.loads(html.split('id="data">')[1].split("</script>")[0])
    assert data["sizes"] == {"total": 20}
    assert {"runs", "refresh", "curves", "attention"} <= set(data)
    with pytest.raises(KeyError):
        data["scores"]

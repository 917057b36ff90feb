"""The first thing that a new user runs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import atom_distill as ad
from atom_distill.base.errors import MissingExtraError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.config.training_protocol import PROTOCOLS

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
LIMIT = 2_500_000  # bytes


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return runpy.run_path(str(DEMO))


@pytest.mark.slow
def test_digits_end_with_both_accuracies_a_picture_and_a_report(demo, tmp_path, capsys):
    pytest.importorskip("altair", reason="reports need the extra [report]")
    folder = Path("demo/digits")
    short = demo["Demo"](steps=2, repeats=1, protocol=PROTOCOLS.get("dm").changed(epochs=1), folder=folder)
    demo["distill_and_compare"]("digits", short)
    out = capsys.readouterr().out
    assert "random real images" in out
    assert "ATOM" in out
    assert (tmp_path / out.split("picture: ")[1].split()[0]).is_file()
    page = Path(demo["report_of"](folder))
    assert page == Path("demo/report.html")
    assert "<html" in page.read_text("utf-8")


@pytest.mark.slow
def test_networks_of_the_ready_set_are_compared_with_those_of_as_many_random_bytes(demo, capsys):
    demo["train_on_ready_set"](1, NetworkShape(depth=1, width=2))
    out = capsys.readouterr().out
    assert "1,000 test images, one network each, 1 epochs (3 updates)" in out
    rows = re.findall(r"(\d+)\b.*? ([\d,]+) bytes +(\d+\.\d) %", out)
    images, sizes = [int(row[0]) for row in rows], [int(row[1].replace(",", "")) for row in rows]
    assert images[:2] == [10, 610]
    assert sizes[0] == 10 * 3072 > sizes[2]
    assert 0.99 * sizes[2] < sizes[1] <= sizes[2]


def test_what_cifar10_does_is_what_the_documentation_says(demo):
    asked = demo["DEMOS"]["cifar10"]
    assert (asked.steps, asked.repeats, asked.protocol, asked.settings) == (500, 5, PROTOCOLS.get("dm"), {})


def test_the_images_that_come_along(demo):
    tiny = ad.load_distilled("cifar10-3072")
    images = demo["cifar10_images"](tiny.class_names)
    assert torch.bincount(images.test.labels).tolist() == [100] * 10
    assert torch.bincount(images.train.labels).tolist() == [1] * 10
    assert len(images.test.images.flatten(1).unique(dim=0)) == 1000
    assert all(path.stat().st_size < LIMIT for path in (DEMO.parent / "cifar10").glob("*.png"))
    random = ad.DistilledDataset.load(DEMO.parent / "cifar10" / "random-3072")
    assert random.class_names == tiny.class_names
    assert random.ipc == tiny.ipc
    assert random.settings["parameterization"] == tiny.settings["parameterization"]
    assert random.settings["method"] == "random"
    assert torch.equal(random.preprocessing.tensors()["mean"], tiny.preprocessing.tensors()["mean"])


def test_a_sheet_is_read_row_by_row(demo, tmp_path):
    """Against a loop over the tiles of a sheet of 2 x 3 images of 4 x 4."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "sheet.png")
    split = demo["images_of_sheet"](tmp_path / "sheet.png", 2, side=4)
    assert split.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for number, image in enumerate(split.images):
        row, column = divmod(number, 3)
        for channel, y, x in np.ndindex(3, 4, 4):
            assert image[channel, y, x] == pixels[4 * row + y, 4 * column + x, channel]


def test_without_the_extra_the_demo_says_how_to_get_reports(demo, monkeypatch):
    def absent(_: object) -> None:
        raise MissingExtraError("a report needs 'altair': pip install 'atom-distill[report]'")

    monkeypatch.setitem(demo["report_of"].__globals__, "make_report", absent)
    assert "pip install 'atom-distill[report]'" in demo["report_of"](Path("demo/digits"))


def test_an_unknown_set_is_told(monkeypatch):
    monkeypatch.setattr("sys.argv", ["demo.py", "digitz"])
    with pytest.raises(SystemExit, match="the demo knows digits and cifar10, not 'digitz'"):
        runpy.run_path(str(DEMO), run_name="__main__")

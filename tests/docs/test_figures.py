"""The figures of the documentation come out of the code that is said to draw them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import atom_distill
import figures
import set_picture
from atom_distill.ops.matching import attention_mixer, matching_loss, matching_vector
from docs.pages import ROOT, links_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[figures.Run, Path]:
    folder = tmp_path_factory.mktemp("figures")
    run = figures.distilled(steps=20, width=8, batch_real=8, compile="off", show_progress=False)
    figures.draw_all(folder, run)
    return run, folder


def test_the_page_shows_all_that_are_drawn_and_no_others(drawn):
    links = links_of((ROOT / "docs" / "how-it-works.md").read_text("utf-8"))
    shown = {Path(link).name for link in links if link.endswith(".png")}
    assert shown == {path.name for path in drawn[1].iterdir()}
    assert shown <= {path.name for path in (ROOT / "docs" / "images").iterdir()}


def test_each_is_a_picture_with_something_on_it(drawn):
    for path in drawn[1].iterdir():
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture.std() > 20, path.name
        assert min(picture.shape) > 300, path.name
        assert path.stat().st_size < 100_000, path.name


def test_the_committed_ones_have_their_size(drawn):
    for path in drawn[1].iterdir():
        committed = Image.open(ROOT / "docs" / "images" / path.name)
        assert np.allclose(committed.size, Image.open(path).size, rtol=0.02), f"{path.name}: make figures"


def test_distances_of_the_objective_are_those_of_the_loss(drawn):
    """What stands below the tiles adds up to the loss of that class, by the matching vectors."""
    run, _ = drawn
    network = figures._network(run.dataset)
    real = run.tiny.preprocessing.apply(figures._real(run.dataset, figures.SHOWN, figures._REAL))
    means = [
        matching_vector(attention_mixer(network.features(images))).mean(0, keepdim=True)
        for images in (real, run.tiny.images[[figures.SHOWN]])
    ]
    axes = figures.objective(run).axes
    told = [float(found[1]) for axis in axes[-5:] if (found := re.match(r"distance ([\d.]+)", axis.get_xlabel()))]
    assert len(told) == 5
    assert sum(told) == pytest.approx(float(matching_loss(*means)), abs=0.03)
    assert torch.isfinite(means[0]).all()


def test_the_picture_of_the_ready_set_has_a_row_for_each_class():
    drawn = set_picture.picture(atom_distill.load_distilled(set_picture.NAME))
    assert drawn.size == (2 + 24 * 34, 2 + 10 * 34)
    with Image.open(ROOT / "docs" / "images" / f"{set_picture.NAME}.png") as committed:
        difference = np.asarray(committed.convert("RGB"), dtype=float) - np.asarray(drawn.convert("RGB"), dtype=float)
    assert np.abs(difference).mean() < 2, "make figures"

"""A method of one's own in a few lines: those that the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from distillation.toys import SETTINGS, toy_dataset

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-method.md"
OBJECTIVE = '''\
import atom_distill as ad
from atom_distill.distillation.methods import METHODS
from atom_distill.ops.matching import Statistic


@METHODS.register("moments")
def moments(config):
    """Match the mean and the deviation of every channel in every layer."""

    def statistics_of(features):
        means = [Statistic(maps.mean((2, 3))) for maps in features.maps]
        deviations = [Statistic(maps.std((2, 3)), weight=config.task_balance) for maps in features.maps]
        return means + deviations

    return statistics_of


tiny = ad.distill(ad.load_dataset("digits"), ipc=1, method="moments", steps=100)
'''


def test_the_page_shows_it_in_at_most_twenty_lines():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert OBJECTIVE in blocks
    assert len(OBJECTIVE.splitlines()) <= 20


def test_it_registers_and_distils(monkeypatch):
    import atom_distill
    from atom_distill.distillation.methods import METHODS

    given = {**SETTINGS, "method": "moments"}
    monkeypatch.setattr(atom_distill, "load_dataset", lambda _: toy_dataset())
    distill = atom_distill.distill
    monkeypatch.setattr(atom_distill, "distill", lambda data, **_: distill(data, show_progress=False, **given))
    names: dict[str, object] = {}
    try:
        exec(compile(OBJECTIVE, PAGE.name, "exec"), names)
    finally:
        METHODS._entries.pop("moments", None)
    first = distill(toy_dataset(), show_progress=False, **{**SETTINGS, "method": "random"})
    assert not torch.allclose(names["tiny"].images, first.images)
    assert names["tiny"].settings["method"] == "moments"

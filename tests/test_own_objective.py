"""A method of one's own in a few lines: those that the documentation shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.cli.main import main
from distillation.toys import SETTINGS, toy_dataset

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-method.md"
OBJECTIVE = '''\
import atom_distill as ad
from atom_distill.ops.matching import Statistic
from pydantic import Field


class MomentSettings(ad.MethodSettings):
    """Settings of the method: arguments of `distill`, options of the command line."""

    spread: float = Field(default=0.1, ge=0, description="Weight of the standard deviations.")


def moments(settings):
    """Match the mean and the standard deviation of every channel in every layer."""

    def statistics(features):
        means = [Statistic(maps.mean((2, 3)), name="mean") for maps in features.maps]
        spreads = [Statistic(maps.std((2, 3)), settings.spread, "spread") for maps in features.maps]
        return means + spreads

    return ad.Objective(statistics)


MOMENTS = ad.MatchingMethod(name="moments", title="Moments", settings_model=MomentSettings, objective=moments)
ad.METHODS.register("moments")(MOMENTS)
tiny = ad.distill(ad.load_dataset("digits"), ipc=1, method="moments", spread=0.2, steps=100)
'''


def test_the_page_shows_it_in_few_lines():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert OBJECTIVE in blocks
    assert len(OBJECTIVE.splitlines()) <= 30


def test_it_registers_and_distils(monkeypatch):
    import atom_distill
    from atom_distill.distillation.methods import METHODS

    given = {**SETTINGS, "method": "moments"}
    monkeypatch.setattr(atom_distill, "load_dataset", lambda _: toy_dataset())
    distill = atom_distill.distill
    monkeypatch.setattr(
        atom_distill,
        "distill",
        lambda data, **asked: distill(data, show_progress=False, **{**given, "spread": asked["spread"]}),
    )
    names: dict[str, object] = {}
    try:
        exec(compile(OBJECTIVE, PAGE.name, "exec"), names)
    finally:
        METHODS._entries.pop("moments", None)
    first = distill(toy_dataset(), show_progress=False, **{**SETTINGS, "method": "random"})
    assert not torch.allclose(names["tiny"].images, first.images)
    assert names["tiny"].settings["method"] == "moments"
    assert names["tiny"].settings["spread"] == 0.2
    assert names["tiny"].record["method"] == {"title": "Moments", "paper": None, "unused": []}


def test_its_settings_are_options_of_the_command_line(monkeypatch, tmp_path, capsys):
    """The method is named by its module, which lies in the working folder."""
    (tmp_path / "my_methods.py").write_text(OBJECTIVE.split("ad.METHODS", maxsplit=1)[0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["distill", "--method", "my_methods:MOMENTS", "--help"])
    assert "--spread" in capsys.readouterr().out
    asked = ["distill", "digits", "--ipc", "1", "--method", "my_methods:MOMENTS", "--spread", "0.3"]
    assert main([*asked, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["settings"]["spread"], plan["origin"]["spread"]) == (0.3, "option")
    assert main([*asked, "--steps", "1", "--compile", "off", "--width", "4"]) == 0
    assert DistilledDataset.load("runs/digits-MOMENTS-ipc1").settings["spread"] == 0.3
    with pytest.raises(SystemExit):
        main(["distill", "--help"])
    assert "--spread" not in capsys.readouterr().out

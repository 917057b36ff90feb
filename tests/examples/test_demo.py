"""The first thing that a new user runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from atom_distill.config.training_protocol import PROTOCOLS

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.mark.slow
def test_the_demo_ends_with_both_accuracies_and_a_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    demo = runpy.run_path(str(DEMO))
    short = demo["Demo"](steps=2, repeats=1, protocol=PROTOCOLS.get("dm").changed(epochs=1))
    monkeypatch.setitem(demo["DEMOS"], "digits", short)
    demo["main"]("digits")
    out = capsys.readouterr().out
    assert "random real images" in out
    assert "ATOM" in out
    assert (tmp_path / out.split("picture: ")[1].split()[0]).is_file()


def test_an_unknown_set_is_told(monkeypatch):
    monkeypatch.setattr("sys.argv", ["demo.py", "digitz"])
    with pytest.raises(SystemExit, match="the demo knows digits and cifar10, not 'digitz'"):
        runpy.run_path(str(DEMO), run_name="__main__")

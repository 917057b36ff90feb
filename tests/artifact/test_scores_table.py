"""The tables of scores on a card."""

from __future__ import annotations

from artifact.scores_made_up import score
from atom_distill.artifact.card.render_card import scores_table
from atom_distill.config.training_protocol import PROTOCOLS


def test_protocols_never_share_a_table():
    other = PROTOCOLS.get("dm").changed(epochs=300)
    text = scores_table([score(), score(protocol=other, runs=(1.0,)), score(runs=(9.0,))])
    assert text.count("| trained on |") == 2
    first, second = text.split("Protocol `dm(epochs=300)`")
    assert "9.0" in first
    assert "| 1.0 |" in second
    assert scores_table([]) == ""


def test_the_card_names_what_differs_from_the_default_network():
    shape = {"depth": None, "width": 32, "norm": "batch"}
    text = scores_table([score(shape=shape), score()])
    assert "| distilled | convnet (width 32, norm batch) |" in text
    assert "| distilled | convnet |" in text

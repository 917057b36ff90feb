"""What a card says of sets of every kind, from its content alone."""

from __future__ import annotations

import pytest

from atom_distill.artifact.card.content import CardContent
from atom_distill.artifact.card.render_card import render_card


def card(**changes) -> str:
    content = {
        "per_class": (2, 2, 2),
        "class_names": ("cat", "dog", "sea lion"),
        "image_shape": (3, 8, 6),
        "preprocess": "zca",
        "settings": {"method": "dm", "arch": "convnet", "norm": "batch"},
        "dataset": {"name": "toy", "train_size": 27},
        "record": {},
        "steps": 7,
        "which": "last",
        "has_soft_labels": False,
        "scores": [],
    }
    return render_card(CardContent(**(content | changes)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "6 synthetic images (2 per class, 3 classes, 3x8x6)"),
        ({"per_class": (1, 3, 2)}, "6 synthetic images (1 to 3 per class, 3 classes, 3x8x6)"),
        ({"per_class": (1, 0, 0)}, "# toy, distilled to 1 image (dm)"),
        ({}, "made by dm in 7 steps with"),
        ({"which": "best"}, "made by dm in 7 steps, the best of its run on held-out training images with"),
        ({"record": {"method": {"title": "DM", "paper": None}}}, "# toy, distilled to 6 images (DM)"),
        ({}, "`convnet`, batch norm"),
        ({"settings": {"method": "imported"}}, "networks chosen by its makers"),
        ({"has_soft_labels": True}, "`distilled.safetensors` | images [N, C, H, W] float32 in model space, labels [N]"),
        ({"has_soft_labels": True}, "soft_labels [N, K] float32"),
        ({"settings": {"method": "dm", "parameterization": "half"}}, "decodes to images by `half`, labels [N] int64 |"),
    ],
)
def test_a_card_says(changes, told):
    assert told in card(**changes)


def test_names_on_a_card_are_text():
    text = card(dataset={"name": "<b>|[x](y)\n# z", "train_size": 27})
    assert "\n# \\<b\\>\\|\\[x\\](y)\\\\n# z, distilled to" in text
    imported = {"files": ["a*b|`c`.pt"], "format": "a pair"}
    assert r"imported from a\*b\|\`c\`.pt (a pair)" in card(record={"imported": imported})


@pytest.mark.parametrize(
    ("method", "told"), [("imported", "images of toy, imported from a.pt"), ("dm", "made by dm, imported from a.pt")]
)
def test_an_imported_set_names_its_files_and_its_method_if_known(method, told):
    imported = {"files": ["a.pt", "b.pt"], "format": "images and labels, a file each"}
    text = card(settings={"method": method}, record={"imported": imported})
    assert f"{told}, b.pt (images and labels, a file each) with" in text


def test_a_paper_is_linked_only_if_there_is_one():
    record = {"method": {"title": "DM", "paper": "2110.04181"}}
    assert "The method is DM ([arXiv 2110.04181](https://arxiv.org/abs/2110.04181))" in card(record=record)
    for record in ({}, {"method": {"title": "random", "paper": None}}):
        assert "arxiv" not in card(record=record)


def test_the_card_of_a_selection_says_that_its_images_are_real_and_has_no_settings_of_steps():
    record = {"method": {"title": "Herding", "paper": None, "unused": ["steps", "image_lr"]}}
    settings = {"method": "herding", "arch": "convnet", "steps": 8000, "image_lr": 1.0}
    text = card(settings=settings, record=record)
    assert "6 real images (2 per class" in text
    assert "chosen by Herding with" in text
    assert "synthetic" not in text
    assert "`arch`" in text
    assert "`steps`" not in text
    assert "`image_lr`" not in text
    assert "synthetic" in card(settings=settings)  # by a version that did not record what a method uses

"""The picture of what two networks attend to in the same distilled images."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import attention_picture
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.build import build_model
from atom_distill.ops.attention import attention_to_places, spatial_attention
from distillation.toys import go


def test_attention_is_that_of_the_blocks_but_the_last():
    images = torch.randn(2, 3, 16, 16)
    of_vit = build_model("vit", (3, 16, 16), 4, NetworkShape(depth=2, width=64)).eval()
    weights = of_vit.features(images).of_kind("attention")[0]
    wanted = F.interpolate(attention_to_places(weights, power=2.0).view(2, 1, 8, 8), (16, 16), mode="bilinear")
    found = attention_picture.attention(of_vit, images)
    torch.testing.assert_close(found, (wanted / wanted.amax((2, 3), keepdim=True)).squeeze(1))
    of_convnet = build_model("convnet", (3, 16, 16), 4, NetworkShape(depth=2, width=8)).eval()
    first = spatial_attention(of_convnet.features(images).maps[0], power=2.0).view(2, 16, 16)
    torch.testing.assert_close(
        attention_picture.attention(of_convnet, images), first / first.amax((1, 2), keepdim=True)
    )


def test_the_picture_has_a_row_for_each_class_and_a_column_for_each_network(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    go(tmp_path / "run", steps=1)
    made = DistilledDataset.load(tmp_path / "run")
    networks = {arch: attention_picture.network_of(made, arch, 0) for arch in ("convnet", "vit")}
    figure = attention_picture.picture(made, networks, 2)
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "convnet", "vit"]
    assert [axis.get_ylabel() for axis in figure.axes[::3]] == ["class 0", "class 1"]
    assert not (figure.axes[1].images[0].get_array() == figure.axes[2].images[0].get_array()).all()
    out = tmp_path / "picture.png"
    line = ["attention_picture.py", str(tmp_path / "run"), "--out", str(out), "--epochs", "0", "--images", "3"]
    monkeypatch.setattr(sys, "argv", line)
    attention_picture.main()
    assert Image.open(out).height > 3 * 100


def test_trained_networks_come_from_the_pool(tmp_path, monkeypatch):
    """By the recipe of their kind."""
    recipes = []

    class Trained:
        def __init__(self, recipe, dataset):
            recipes.append((recipe.arch, recipe.trained_by, recipe.epochs, dataset.name))
            self.arch = recipe.arch

        def train(self, *_):
            pass

        def last_networks(self):
            return [build_model(self.arch, (1, 8, 8), 10)]

    monkeypatch.setattr(attention_picture, "Pool", Trained)
    from atom_distill.api import distill, load_dataset

    made = distill(load_dataset("digits"), method="random", ipc=1, device="cpu", show_progress=False)
    for arch in ("convnet", "vit"):
        attention_picture.network_of(made, arch, 3)
    assert recipes == [("convnet", "pool", 3, "digits"), ("vit", "pool-vit", 3, "digits")]

"""How many images a forward may have under a budget of memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.distillation import memory_limit
from atom_distill.distillation.memory_limit import Demand, affordable_chunk, footprint
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.ops.features import Features
from atom_distill.ops.matching import Statistic
from distillation.toys import go, toy_dataset

FLOAT = {"real_dtype": "float32"}
ROUNDING = 1e-3
"""Of values near 1, after steps that moved them by about as much."""


class Squares(Network):
    """Keeps its input alone for the way back: 4 bytes a value."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Identity()

    def features(self, images: Tensor) -> Features:
        embedding = images.flatten(1)[:, :5]
        return Features.of_maps([images.square()], embedding, lambda: embedding)


def test_what_is_kept_for_the_way_back_is_counted():
    of_one = footprint(Squares(), lambda features: [Statistic(features.maps[0].sum((2, 3)))], (3, 10, 20))
    image = 4 * 3 * 10 * 20
    assert of_one.trained == image + 9 * image
    assert of_one.seen == image + 2 * image
    assert of_one.matching_vector == 4 * 3


def test_weights_are_not_an_images_own():
    def of(width: int, classes: int = 10) -> int:
        with torch.device("meta"):
            network = build_model("convnet", (3, 32, 32), classes, NetworkShape(width=width))
        return footprint(network, lambda features: [Statistic(features.embedding)], (3, 32, 32)).trained

    assert of(256) == pytest.approx(2 * of(128), rel=0.02)  # the weights would make it four times as much
    assert of(128, classes=1000) == of(128)


def test_a_budget_too_small_for_a_class_is_refused_and_one_that_would_do_is_named(tmp_path):
    data = toy_dataset((200, 200), shape=(3, 64, 64))
    with pytest.raises(ConfigError, match=r"`memory` 0.1 is too small: .* give ([\d.]+) or more") as refused:
        go(tmp_path / "run", data=data, ipc=200, memory=0.1, width=128)
    enough = float(str(refused.value).split("give ")[1].split(" ")[0])
    assert enough > 1
    go(data=data, ipc=1, memory=enough, steps=1)


@pytest.fixture
def affordable(monkeypatch):
    """Pretend that a budget of N GiB affords N images in a forward."""
    monkeypatch.setattr(memory_limit, "affordable_chunk", lambda budget, *_, **__: int(budget))


def test_a_budget_changes_rounding_only(tmp_path, affordable):
    made = go(tmp_path / "run", memory=2.0, **FLOAT)
    assert made.settings["chunk"] == 2
    assert abs(made.images - go(**FLOAT).images).max() < ROUNDING


def test_a_resumed_run_may_have_another_budget(tmp_path, affordable):
    go(tmp_path / "run", memory=2.0, steps=3, **FLOAT)
    again = go(tmp_path / "run", memory=5.0, resume=True, **FLOAT)
    assert (again.settings["memory"], again.settings["chunk"]) == (5.0, 5)
    assert abs(again.images - go(**FLOAT).images).max() < ROUNDING


def test_the_command_that_started_a_run_keeps_its_chunk(tmp_path, affordable, capsys, monkeypatch):
    asked = {"memory": 2.0, "chunk": 50, **FLOAT}
    go(tmp_path / "run", steps=3, **asked)
    again = go(tmp_path / "run", resume=True, **asked)
    assert (again.settings["chunk"], "resuming with another" in capsys.readouterr().err) == (2, False)
    assert torch.equal(again.images, go(**asked).images)
    monkeypatch.setattr(memory_limit, "affordable_chunk", lambda *_, **__: 1)  # of a process that holds more
    again = go(tmp_path / "run", resume=True, steps=9, **asked)
    assert (again.settings["chunk"], "resuming with another" in capsys.readouterr().err) == (2, False)
    monkeypatch.setattr(memory_limit, "affordable_chunk", lambda budget, *_, **__: int(budget))
    assert go(tmp_path / "run", resume=True, steps=10, **{**asked, "chunk": 1}).settings["chunk"] == 1
    assert go(tmp_path / "run", resume=True, steps=11, **{**asked, "memory": 3.0}).settings["chunk"] == 3
    assert "resuming with another chunk:" in capsys.readouterr().err  # the limit itself changes no result


def test_the_settings_of_a_run_with_a_budget_can_be_used_again(affordable):
    made = go(memory=2.0)
    assert torch.equal(go(**made.settings).images, made.images)


def test_batchnorm_needs_what_a_ranks_share_of_real_images_needs(tmp_path):
    """Its real images are in the network together, once, and as many as there are of a class that has few."""

    def enough(ranks: int, real: int) -> float:
        one, several = torch.full((10,), 1), torch.full((10,), real)
        demand = Demand((3, 64, 64), one, 4 * 3 * 64 * 64 * 10, several, ranks, 10, whitened=False, compiled=False)
        with pytest.raises(ConfigError, match="BatchNorm sees all images at once; give") as refused:
            affordable_chunk(0.01, network, of_one, demand, held=0)
        return float(str(refused.value).split("give ")[1].split(" ")[0])

    with torch.device("meta"):
        network = build_model("convnet", (3, 64, 64), 10, NetworkShape(norm="batch"))
    of_one = footprint(network, lambda features: [Statistic(features.embedding)], (3, 64, 64))
    of_all = 1000 * (of_one.seen + 4 * 4 * 3 * 64 * 64) / 0.8 / 2**30
    assert enough(1, 100) == pytest.approx(of_all, rel=0.05)
    assert enough(2, 100) == pytest.approx(of_all / 2, rel=0.05)
    assert enough(1, 5) < 0.1 * enough(1, 100)


def test_whitening_and_compiling_are_counted():
    of_one = footprint(Squares(), lambda features: [Statistic(features.embedding)], (3, 32, 32))
    plain = Demand((3, 32, 32), torch.ones(2), 4 * 3 * 32 * 32 * 2, torch.ones(2), 1, 2, whitened=False, compiled=False)
    matrix = 8 * 3072**2
    assert replace(plain, whitened=True).fixed(of_one) - plain.fixed(of_one) > 4 * matrix
    assert replace(plain, compiled=True).fixed(of_one) - plain.fixed(of_one) > 100 * 2**20


def test_a_chunk_that_is_too_large_for_the_budget_is_told(affordable, capsys):
    assert go(memory=2.0, chunk=50, steps=1).settings["chunk"] == 2
    assert "chunk 50 is more than memory 2 allows: it is 2" in capsys.readouterr().err


def test_it_is_the_largest_class_that_must_fit():
    data = toy_dataset((5, 600), shape=(3, 32, 32))
    with pytest.raises(ConfigError, match="the 595 images of a class are seen at once"):
        go(data=data, ipc=None, budget=600, memory=1.0, width=128)


def test_a_rank_holds_the_largest_of_the_classes_that_a_step_may_draw():
    counts = torch.tensor([5, 1, 4, 2, 3, 6])
    of = lambda classes: Demand((3, 8, 8), counts, 0, counts, 2, classes, whitened=False, compiled=False)  # noqa: E731
    assert [of(classes).largest_share(counts) for classes in (6, 2, 1)] == [12, 9, 6]  # ranks have 5, 4, 3 and 1, 2, 6

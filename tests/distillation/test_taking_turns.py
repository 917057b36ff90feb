"""Matching networks of several architectures take turns in the steps of a run."""

from __future__ import annotations

import pytest
import torch

from atom_distill.api import plan_distillation
from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation import memory_limit, optimize
from atom_distill.distillation.optimize import real_images
from atom_distill.training.pool import Pool
from distillation.toys import SETTINGS, go, losses, toy_dataset

BOTH = {"arch": "convnet+vit", "width": 64, "depth": 2, "image_momentum": 0.0, "steps": 4}


def test_each_step_is_that_of_its_network_alone():
    """The second of both is one of the ViT, with the draws of step 1, at the images that the ConvNet's left."""
    first, second = (go(**{**BOTH, "steps": steps}) for steps in (1, 2))
    assert torch.equal(first.images, go(**{**BOTH, "arch": "convnet", "steps": 1}).images)
    data, alone = toy_dataset(), {**SETTINGS, **BOTH, "arch": "vit"}
    plan = plan_distillation(data, alone)
    sampler = real_images(plan, fit_preprocessing("normalize", data))
    stored = {"images": first.images.clone().requires_grad_()}
    terms = plan.method._step(plan, plan.encoders[0], sampler)(stored, 1)
    assert float(terms.sum()) == pytest.approx(second.history[1]["loss"])
    torch.testing.assert_close(second.images, first.images - stored["images"].grad)
    assert not torch.equal(second.images, first.images)


def test_terms_have_the_name_of_their_network(tmp_path):
    history = go(tmp_path / "run", **BOTH).history
    kinds = [{name.split(" ")[0] for name in entry["terms"]} for entry in history]
    assert kinds == [{"convnet"}, {"vit"}, {"convnet"}, {"vit"}]
    assert list(history[1]["terms"]) == ["vit spatial 1", "vit channel 1", "vit embedding"]
    assert all(sum(entry["terms"].values()) == pytest.approx(entry["loss"], rel=1e-4) for entry in history)


@pytest.mark.parametrize("done", [1, 2])
def test_a_resumed_run_goes_on_with_the_network_whose_turn_it_is(tmp_path, done):
    whole = go(tmp_path / "whole", **BOTH)
    go(tmp_path / "run", **{**BOTH, "steps": done})
    again = go(tmp_path / "run", resume=True, **BOTH)
    assert torch.equal(again.images, whole.images)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert again.settings["arch"] == "convnet+vit"


def test_each_architecture_has_a_pool_of_its_own_by_its_own_recipe(tmp_path):
    pooled = {"pool": 2, "pool_epochs": 1, "networks": "snapshot", "label_weight": 1.0, "soft_labels": True}
    plan = plan_distillation(toy_dataset(), {**SETTINGS, **BOTH, **pooled})
    assert [pool.recipe.arch for pool in plan.pools] == ["convnet", "vit"]
    assert [pool.recipe.protocol.name for pool in plan.pools] == ["pool(epochs=1)", "pool-vit(epochs=1)"]
    made = go(tmp_path / "run", **BOTH, **pooled)
    assert [pool.count_cached() for pool in plan.pools] == [2, 2]
    assert made.record["pool_seconds"] == pytest.approx(sum(pool.seconds() for pool in plan.pools), abs=0.11)
    assert "vit cross-entropy" in made.history[1]["terms"]
    networks = [network.eval() for pool in plan.pools for network in Pool.last_networks(pool)]
    with torch.no_grad():
        wanted = torch.stack([network(made.images).double().softmax(1) for network in networks]).mean(0)
    torch.testing.assert_close(made.soft_labels, wanted.float(), atol=1e-3, rtol=0)


def test_the_memory_limit_holds_for_the_network_that_needs_most(monkeypatch):
    asked = []

    def affordable(limit, network, of_one, demand, held):
        asked.append((of_one.trained, demand.compiled))
        return 5 if network.is_transformer else 6

    monkeypatch.setattr(memory_limit, "affordable_chunk", affordable)
    plan = plan_distillation(toy_dataset(), {**SETTINGS, **BOTH, "memory": 4.0, "compile": "on"})
    assert plan.settings.chunk == 5
    assert len({trained for trained, _ in asked}) == 2
    assert [compiled for _, compiled in asked] == [2, 2]


def test_held_out_accuracy_is_the_mean_of_both(monkeypatch):
    scores = {"convnet": 30.0, "vit": 20.0}

    class Scored:
        def __init__(self, arch, **_):
            self.mean = scores[arch]

        def of_images(self, *_):
            return self

    monkeypatch.setattr(optimize, "Evaluation", Scored)
    history = go(data=toy_dataset((20, 20, 20)), **BOTH, eval_every=2).history
    assert [entry["held_out_accuracy"] for entry in history if "held_out_accuracy" in entry] == [25.0, 25.0]


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"method": "dc"}, ConfigError, r"dc has one network: give `arch` one architecture, not convnet\+vit"),
        ({"method": "herding"}, ConfigError, "herding has one network"),
        ({"arch": "convnet+vot"}, UnknownNameError, "architecture 'vot'.*'vit'"),
        ({"arch": "convnet+"}, UnknownNameError, "architecture ''"),
        ({"norm": "batch"}, ConfigError, "vit does not support norm"),
    ],
)
def test_refusals(changes, kind, told):
    with pytest.raises(kind, match=told):
        go(**{**BOTH, **changes})

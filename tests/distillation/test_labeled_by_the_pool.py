"""Soft labels of a run: what the last networks of its pool say of the images, stored and counted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from atom_distill.api import plan_distillation
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.errors import ConfigError
from distillation.toys import go, toy_dataset

TAUGHT = {"pool": 2, "pool_epochs": 2, "soft_labels": True}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATOM_DATA", str(tmp_path / "cache"))


def said_by_the_pool(distilled: DistilledDataset, data) -> np.ndarray:
    """The mean over the networks of exp(logit) / sum of exp(logits), image by image."""
    pool = plan_distillation(data, dict(distilled.settings)).pool
    wanted = np.zeros((len(distilled), 3))
    for number in range(2):
        network = pool.new_network()
        pool.load(network, number, epoch=1)
        for index, image in enumerate(distilled.images):
            powers = np.exp(network.eval()(image[None])[0].detach().double().numpy())
            wanted[index] += powers / powers.sum() / 2
    return wanted


@pytest.mark.parametrize("changes", [{"steps": 2}, {"method": "random"}, {"steps": 2, "parameterization": "tiles-2"}])
def test_they_are_what_the_pool_says(tmp_path, changes, capsys):
    data = toy_dataset()
    distilled = go(tmp_path / "run", data=data, **TAUGHT, **changes)
    assert not {"pool", "width"} & set(re.findall(r"\w+", capsys.readouterr().err))  # nothing of it has "no use"
    wanted = said_by_the_pool(distilled, data)
    np.testing.assert_allclose(distilled.soft_labels.numpy(), wanted, rtol=2e-3, atol=1e-6)
    loaded = DistilledDataset.load(tmp_path / "run")
    assert torch.equal(loaded.soft_labels, distilled.soft_labels)
    assert loaded.soft_label_bytes == 2 * 3 * len(distilled)
    with safe_open(tmp_path / "run" / "distilled.safetensors", "pt") as file:
        assert file.get_slice("soft_labels").get_dtype() == "F16"


def test_the_images_are_those_of_a_run_without(tmp_path):
    plain = go(steps=3)
    assert plain.soft_labels is None
    assert torch.equal(go(steps=3, **TAUGHT).images, plain.images)


def test_the_best_set_has_its_own(tmp_path):
    data = toy_dataset((30, 30, 30))
    judged = {"eval_every": 1, "eval_epochs": 1, "holdout": 0.2}
    distilled = go(tmp_path / "run", data=data, steps=2, **TAUGHT, **judged)
    best = DistilledDataset.load(tmp_path / "run", which="best")
    np.testing.assert_allclose(best.soft_labels.numpy(), said_by_the_pool(best, data), rtol=2e-3, atol=1e-6)
    assert torch.equal(best.soft_labels, distilled.best.soft_labels)


def test_without_a_pool_they_are_refused():
    with pytest.raises(ConfigError, match=r"`soft_labels` needs a pool of trained networks: give `pool=2`"):
        go(soft_labels=True)

"""Selections as methods: which images a run holds, what it says of how they were chosen, and the network behind it."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.cache_folder import cache_root
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.seeding import derive_seed, generator
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.subset import random_subset
from atom_distill.ops import coresets
from atom_distill.training import reference_network
from atom_distill.training.reference_network import ReferenceRecipe
from distillation.toys import go, toy_dataset

SELECTIONS = ["random", "herding", "k-center", "k-means", "forgetting"]
DATA = toy_dataset((12, 9, 15))


def select(method: str, out=None, **changes) -> DistilledDataset:
    settings = {"ipc": 3, "selection_epochs": 4, **changes}
    return go(out, data=DATA, method=method, **settings)


RECIPE = ReferenceRecipe("convnet", NetworkShape(width=8), epochs=4, seed=0, device=torch.device("cpu"))


@pytest.mark.parametrize("method", SELECTIONS)
def test_the_images_are_training_images_of_their_class_and_no_two_the_same(method, tmp_path):
    distilled = select(method, tmp_path / "run")
    indices = torch.tensor(distilled.record["selection"]["indices"])
    assert len(set(indices.tolist())) == 9
    assert DATA.train.labels[indices].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert torch.equal(distilled.pixels(), DATA.train.images[indices])
    loaded = DistilledDataset.load(tmp_path / "run")
    assert (loaded.steps, loaded.settings["method"]) == (0, method)
    assert loaded.record["selection"] == distilled.record["selection"]


@pytest.mark.parametrize("method", SELECTIONS)
def test_the_seed_decides(method):
    assert torch.equal(select(method).images, select(method).images)
    assert not torch.equal(select(method).images, select(method, seed=1).images)


def test_random_is_what_a_run_starts_from():
    indices = random_subset(DATA, 3, 0)
    assert torch.equal(select("random").pixels(), DATA.train.images[indices])


@pytest.mark.parametrize("method", SELECTIONS[1:])
def test_how_the_network_was_trained_is_told(method):
    how = select(method).record["selection"]
    assert (how["network"], how["protocol"], how["seed"]) == ("convnet", "dm(epochs=4)", 0)
    assert 0 <= how["training_accuracy"] <= 100


@pytest.mark.parametrize("method", ["herding", "k-center", "k-means", "forgetting"])
def test_the_choice_is_that_of_its_rule_in_each_class(method, monkeypatch):
    """Embeddings and forgetting events are those of the images of the class, by the rules that tests/ops checks."""
    events = torch.arange(len(DATA.train)) * 7 % len(DATA.train)  # no two alike
    monkeypatch.setattr(reference_network, "forgetting_events", lambda _: events)
    preprocessing = fit_preprocessing("normalize", DATA)
    network = reference_network.reference_network(DATA, preprocessing, RECIPE, show_progress=False)
    choose = {
        "herding": lambda _, indices: coresets.herding(network.embeddings(indices), 3),
        "k-center": lambda _, indices: coresets.k_center(network.embeddings(indices), 3),
        "k-means": lambda label, indices: coresets.nearest_to_k_means(
            network.embeddings(indices), 3, derive_seed(0, "k-means", label)
        ),
        "forgetting": lambda label, indices: coresets.most_forgotten(
            network.events[indices], 3, generator(0, "forgetting", label)
        ),
    }[method]
    wanted = [indices[choose(label, indices)] for label, indices in enumerate(DATA.class_indices())]
    assert select(method).record["selection"]["indices"] == torch.cat(wanted).tolist()


def test_herding_keeps_the_mean_embedding_better_than_chance():
    preprocessing = fit_preprocessing("normalize", DATA)
    network = reference_network.reference_network(DATA, preprocessing, RECIPE, show_progress=False)
    gaps = {}
    for method in ("herding", "random"):
        chosen = torch.tensor(select(method).record["selection"]["indices"]).view(3, 3)
        classes = DATA.class_indices()
        gaps[method] = sum(
            float((network.embeddings(classes[k]).mean(0) - network.embeddings(chosen[k]).mean(0)).norm())
            for k in range(3)
        )
    assert gaps["herding"] < 0.9 * gaps["random"]


def test_a_slow_training_is_kept_and_a_damaged_one_is_told(monkeypatch, capsys):
    monkeypatch.setattr(reference_network, "_SLOW_VALUES", 0)
    first = select("herding").images
    with monkeypatch.context() as patch:
        patch.setattr(reference_network, "_train", lambda *_, **__: pytest.fail("trained again"))
        assert torch.equal(select("herding").images, first)
        select("k-center")
    (stored,) = (cache_root() / "reference-networks").iterdir()
    stored.write_bytes(b"half")
    capsys.readouterr()
    assert torch.equal(select("herding").images, first)
    assert "damaged; training it again" in capsys.readouterr().err
    content = bytearray(stored.read_bytes())
    content[-5] ^= 1  # of a value
    stored.write_bytes(content)
    assert torch.equal(select("herding").images, first)
    assert "damaged; training it again" in capsys.readouterr().err


def test_a_network_that_cannot_be_kept_is_used_all_the_same(monkeypatch, capsys):
    monkeypatch.setattr(reference_network, "_SLOW_VALUES", 0)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reference_network, "write_tensors", full)
    assert len(select("herding")) == 9
    assert "No space left on device): the trained network is not kept there" in capsys.readouterr().err


def test_resuming_a_selection_finds_it_finished(tmp_path, capsys):
    select("random", tmp_path / "run")
    again = select("random", tmp_path / "run", resume=True)
    assert np.array_equal(again.labels, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert "is finished" in capsys.readouterr().err

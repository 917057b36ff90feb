"""The loss by term: each against the oracle with that term alone, their sum against the loss, and how they are kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from atom_distill.base.seeding import generator
from atom_distill.models.initialization import reinitialize
from atom_distill.ops.matching import Statistic, terms_of
from distillation.steps import SEED, STEP, Case, computed, forward
from distillation.toys import go, losses
from oracles.matching import Batch, Terms, objective


def batch(case: Case, network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Batch:
    maps, embedding = forward(network, images.double())
    return Batch([layer.numpy() for layer in maps], embedding.numpy(), labels.tolist())


def test_each_term_is_the_objective_of_that_statistic_alone():
    case = Case(ipc=2)
    network = case.network()
    reinitialize(network, generator(SEED, "network", STEP))
    network = network.double().requires_grad_(False)
    sampler = case.sampler()
    real = batch(case, network, sampler.load(sampler.draw(generator(SEED, "real", STEP))), sampler.labels)
    synthetic = batch(case, network, case.images(), torch.arange(len(case.counts)).repeat_interleave(case.ipc))

    def alone(layers: list[int], **terms: bool) -> float:
        only = Terms(**{"spatial": False, "channel": False, "embedding": False, **terms})
        cut = [
            Batch([*(one.maps[layer] for layer in layers), one.maps[-1]], one.embedding, one.labels)
            for one in (real, synthetic)
        ]
        return objective(*cut, len(case.counts), only)

    want = [
        alone([0], spatial=True),
        alone([0], channel=True),
        alone([1], spatial=True),
        alone([1], channel=True),
        alone([], embedding=True),
    ]
    matching = case.step()
    images = case.images().requires_grad_()
    got = matching({"images": images}, STEP)
    assert matching.term_names({"images": images}) == ("spatial 1", "channel 1", "spatial 2", "channel 2", "embedding")
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-4)


@pytest.mark.parametrize("chunk", [2, 1000])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_metrics_hold_terms_whose_sum_is_the_loss(tmp_path, chunk, norm):
    go(tmp_path / "run", ipc=2, chunk=chunk, norm=norm, snapshots=0)
    entries = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(entries) == 8
    for entry in entries:
        assert len(entry["terms"]) == 5
        assert all(value > 0 for value in entry["terms"].values())
        assert sum(entry["terms"].values()) == pytest.approx(entry["loss"], rel=1e-5)


def test_finding_the_terms_changes_no_step(tmp_path):
    """BatchNorm's statistics, the mode of the network, and every draw are as they were."""
    case = Case(norm="batch")
    matching = case.step()
    before = {name: value.clone() for name, value in matching.encoder._network.state_dict().items()}
    matching.term_names({"images": case.images()})
    assert all(torch.equal(value, before[name]) for name, value in matching.encoder._network.state_dict().items())
    assert matching.encoder._network.training
    assert torch.equal(computed(case, matching=matching)[1], computed(case)[1])


def test_terms_are_found_once(monkeypatch):
    """A step decodes what it is for, and no images more to name its terms."""
    case = Case()
    matching = case.step()
    decoded, decode = [], matching.parameterization.decode

    def counted(stored):
        decoded.append(len(stored["images"]))
        return decode(stored)

    monkeypatch.setattr(matching.parameterization, "decode", counted)
    for step in range(3):
        matching({"images": case.images().requires_grad_()}, step)
        matching.term_names({"images": case.images()})
    assert decoded == [2, *[len(case.images())] * 3]


@pytest.mark.parametrize("method", ["dm", "dc"])
def test_a_loss_of_one_term_is_not_written_twice(tmp_path, method):
    made = go(tmp_path / "run", method=method, steps=2)
    assert all("terms" not in entry for entry in made.history)
    assert [loss for _, loss in losses(tmp_path / "run")] == [entry["loss"] for entry in made.history]


def test_statistics_are_told_apart():
    rows = torch.zeros(2, 3, 4)
    told = terms_of(
        [Statistic(rows), Statistic(rows[:, 0], 2.0, "mean"), Statistic(rows[:, 0, 0]), Statistic(rows, 1, "mean")]
    )
    assert [tuple(term) for term in told] == [
        ("statistic (1)", 12),
        ("mean (2)", 4),
        ("statistic (3)", 1),
        ("mean (4)", 12),
    ]

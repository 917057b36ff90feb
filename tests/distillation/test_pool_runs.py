"""Runs with a pool of trained networks: sources, the cross-entropy in a snapshot, initial images, the whole life."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import atom_distill as ad
from atom_distill.api import plan_distillation
from atom_distill.base.cache_folder import cache_root
from atom_distill.base.errors import ConfigError, InterruptedRunError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.base.seeding import generator
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation import memory_limit
from atom_distill.distillation.classifier import Classifier
from atom_distill.distillation.network_sources import build_network_source
from atom_distill.distillation.step import MatchingStep
from atom_distill.models.initialization import reinitialize
from atom_distill.models.network import Network
from atom_distill.ops.dsa import draw_per_class
from atom_distill.processes.ranks import Ranks
from atom_distill.training import pool as pool_module
from atom_distill.training.pool import Pool, PoolRecipe
from atom_distill.training.train import initial_generator
from distillation.steps import CPU, SEED, STEP, Case, alone, assert_close, computed, reference
from distillation.toys import SETTINGS, go, losses, toy_dataset

WEIGHT = 3.0
POOLED = {"pool": 2, "pool_epochs": 3}
EVERYTHING = {**POOLED, "networks": "interpolated", "label_weight": 20.0, "second_moments": 0.1, "init": "k-means"}


def pool_of(case: Case, networks: int = 2, epochs: int = 6) -> Pool:
    shape = NetworkShape(case.depth, 8, case.norm)
    pool = Pool(PoolRecipe(networks, epochs, "convnet", shape, "normalize", CPU), case.dataset)
    pool.train(fit_preprocessing("normalize", case.dataset), Ranks(), show_progress=False)
    return pool


def with_classifier(case: Case, pool: Pool) -> MatchingStep:
    from atom_distill.distillation.matching_execution import MatchingExecution

    execution = MatchingExecution(CPU, case.dtype, case.compiled, case.chunk, case.synthetic_dtype)
    return replace(case.step(), classifier=Classifier(pool, SEED, WEIGHT, execution))


def late_network(pool: Pool) -> Network:
    """The network of the step, chosen by the draws of its stream: a network, then one of the last third."""
    random = generator(SEED, "classifier", STEP)
    number = int(torch.randint(2, (1,), generator=random))
    epoch = 4 + int(torch.randint(2, (1,), generator=random))
    network = pool.new_network()
    pool.load(network, number, epoch)
    return network.eval()


def cross_entropy(case: Case, network: Network) -> tuple[Tensor, Tensor]:
    """The term in float64, class by class: minus the log of the label's share in the softmax, averaged per class."""
    network = copy.deepcopy(network).double()
    synthetic, operations = case.images().double().requires_grad_(), case.config.operations()
    draw = draw_per_class(len(case.counts), operations, generator(SEED, "augment", STEP)) if operations else None
    total = torch.zeros((), dtype=torch.float64)
    for label, part in enumerate(synthetic.split(case.per_class.tolist())):
        logits = network(alone(part, draw, label))
        total = total - sum((row[label] - row.exp().sum().log()) for row in logits) / len(part)
    (WEIGHT * total).backward()
    return WEIGHT * total.detach(), synthetic.grad


CASES = {
    "plain": Case(),
    "augmented": Case(ipc=3, augment="color_crop_cutout_flip_scale_rotate"),
    "chunks": Case(ipc=3, chunk=4, augment="flip_scale"),
    "uneven": Case(uneven=(1, 4, 2, 3), chunk=5, augment="crop"),
    "dm": Case(ipc=2, method="dm"),
    "datadam": Case(ipc=2, method="datadam"),
    "batch norm": Case(ipc=2, norm="batch", method="dm"),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_equal_the_float64_formula(name):
    case = CASES[name]
    pool = pool_of(case)
    matching, (loss, gradient) = (
        with_classifier(case, pool),
        reference(case) if case.norm != "batch" else computed(case),
    )
    term, its_gradient = cross_entropy(case, late_network(pool))
    assert float(term) > 0.1
    assert_close(computed(case, matching=matching), (loss + term, gradient + its_gradient), tolerance=2e-5)
    images = {"images": case.images().requires_grad_()}
    terms = matching(images, STEP)
    assert matching.term_names(images)[-1] == "cross-entropy"
    torch.testing.assert_close(terms[-1].double(), term, rtol=1e-5, atol=0)


def test_the_cross_entropy_in_bfloat16_stays_near():
    case = Case(ipc=3, dtype=torch.bfloat16, synthetic_dtype=torch.bfloat16)
    pool = pool_of(case)
    images = case.images().requires_grad_()
    term = with_classifier(case, pool)({"images": images}, STEP)[-1]
    torch.testing.assert_close(term.double(), cross_entropy(case, late_network(pool))[0], rtol=2e-2, atol=0)


def test_padding_is_ignored():
    """Compiled code sees ranges of one size; the images that fill them up change nothing."""
    case = CASES["uneven"]
    pool = pool_of(case)
    padded = with_classifier(case, pool)
    padded.encoder.compiled = True
    sizes: list[int] = []
    losses_of = padded.classifier.losses
    padded.classifier.losses = lambda images, labels: sizes.append(len(images)) or losses_of(images, labels)
    assert_close(computed(case, matching=padded), computed(case, matching=with_classifier(case, pool)))
    assert set(sizes) == {5}


def test_a_loss_of_the_same_name_keeps_its_own_curve(tmp_path):
    from distillation import seams

    go(tmp_path / "run", method=f"{seams.__name__}:LABELED", label_weight=2.0, **POOLED, steps=2)
    terms = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["terms"]
    assert [*terms] == ["embedding", "cross-entropy (2)", "cross-entropy (3)"]


def test_snapshots_come_from_all_networks_and_epochs_by_seed_and_step():
    pool = pool_of(Case(), networks=2, epochs=3)
    known = {}
    for number in range(2):
        for epoch in range(3):
            network = pool.new_network()
            pool.load(network, number, epoch)
            known[network.classifier.weight.sum().item()] = (number, epoch)
    source, network = build_network_source("snapshot", 5, pool), pool.new_network()
    place = network.classifier.weight.data_ptr()

    def drawn(of, step: int) -> tuple[int, int]:
        of.load(network, step)
        return known[network.classifier.weight.sum().item()]

    first = [drawn(source, step) for step in range(40)]
    assert set(first) == set(known.values())
    assert [drawn(source, step) for step in reversed(range(40))] == first[::-1]
    assert [drawn(build_network_source("snapshot", 6, pool), step) for step in range(40)] != first
    assert network.classifier.weight.data_ptr() == place
    assert network.training


def test_interpolated_networks_lie_anywhere_between_their_own_ends():
    pool = pool_of(Case(), networks=2, epochs=2)
    ends = []
    for number in range(2):
        begin = pool.new_network()
        reinitialize(begin, initial_generator(pool_module._SEED, number))
        for epoch in range(2):
            end = pool.new_network()
            pool.load(end, number, epoch)
            ends.append(tuple(one.classifier.weight.detach().double() for one in (begin, end)))
    source, network, shares, seen = build_network_source("interpolated", 1, pool), pool.new_network(), [], set()
    for step in range(40):
        source.load(network, step)
        found = network.classifier.weight.detach().double()
        gaps = []
        for begin, end in ends:
            share = float(((found - begin) * (end - begin)).sum() / (end - begin).square().sum())
            gaps.append((float((begin + share * (end - begin) - found).norm()), share))
        assert min(gaps)[0] < 1e-6
        seen.add(gaps.index(min(gaps)))
        shares.append(min(gaps)[1])
    assert seen == {0, 1, 2, 3}
    assert 0 <= min(shares) < 0.15
    assert 0.85 < max(shares) <= 1


@pytest.mark.parametrize("networks", ["snapshot", "interpolated"])
def test_sources_without_a_pool_are_refused(networks):
    with pytest.raises(ConfigError, match=f"`networks={networks}` needs a pool.*`pool=2`"):
        go(networks=networks)


def test_the_cross_entropy_without_a_pool_is_refused():
    with pytest.raises(ConfigError, match=r"`label_weight` needs a pool.*`pool=2`"):
        go(label_weight=1.0)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_run_with_everything_resumes_bit_for_bit(norm, tmp_path, stop_at):
    settings = {**EVERYTHING, "norm": norm, "ipc": 2}
    whole = go(tmp_path / "whole", **settings)
    stop_at(5)
    with pytest.raises(InterruptedRunError):
        go(tmp_path / "run", **settings)
    stop_at(0)
    resumed = go(tmp_path / "run", resume=True, **settings)
    assert torch.equal(resumed.images, whole.images)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert whole.history[-1]["terms"].keys() >= {"cross-entropy", "squares 1", "embedding squares"}
    loaded = ad.DistilledDataset.load(tmp_path / "run")
    assert {name: loaded.settings[name] for name in EVERYTHING} == EVERYTHING
    assert sum(file.stat().st_size for file in (tmp_path / "run").rglob("*.safetensors")) < 200_000  # no weights


def test_runs_of_all_seeds_share_the_networks(monkeypatch):
    plan = plan_distillation(toy_dataset(), {**SETTINGS, **EVERYTHING})
    assert not (cache_root() / "pools").exists()
    assert plan.pool.count_cached() == 0
    one = go(**EVERYTHING)
    assert plan.pool.count_cached() == 2
    monkeypatch.setattr(pool_module, "train", lambda *_, **__: pytest.fail("trained again"))
    again = go(**EVERYTHING)
    assert torch.equal(again.images, one.images)
    assert again.record["pool_seconds"] == one.record["pool_seconds"]  # whoever trained them
    assert not torch.equal(go(**{**EVERYTHING, "seed": 1}).images, one.images)
    go(**{**EVERYTHING, "depth": 3})  # what is the default anyway


def test_a_pool_that_nothing_uses_is_not_trained(capsys):
    plain = go(pool=2)
    assert not (cache_root() / "pools").exists()
    assert "no use for pool" in capsys.readouterr().err
    assert torch.equal(plain.images, go().images)
    go(method="dc", steps=1, **POOLED, label_weight=1.0)
    assert "dc has no use for label_weight, pool, pool_epochs" in capsys.readouterr().err
    assert not (cache_root() / "pools").exists()


@pytest.mark.parametrize("form", [{}, {"parameterization": "frequency-4-2"}, {"bits": 4}])
def test_selections_make_no_initial_images(form, monkeypatch):
    plain = go(method="random", **form)
    for name in ("initial_images", "reference_network", "rounded_form"):
        monkeypatch.setattr(f"atom_distill.distillation.run.{name}", lambda *_, **__: pytest.fail("in vain"))
    assert torch.equal(go(method="random", **EVERYTHING, **form).images, plain.images)
    assert not (cache_root() / "pools").exists()


def test_gradient_matching_takes_trained_networks():
    fresh, trained = (go(method="dc", steps=2, **more) for more in ({}, {**POOLED, "networks": "snapshot"}))
    assert not torch.equal(fresh.images, trained.images)


@pytest.mark.parametrize("pool", [0, 2])
def test_initial_images_are_central_images_of_their_class(pool, monkeypatch):
    """Those nearest to the means of clusters found by hand: with one cluster, to the mean embedding of the class."""
    monkeypatch.setattr("atom_distill.distillation.loop.Loop._checkpoint", lambda *_, **__: None)
    data = toy_dataset((9, 12, 7))
    plan = plan_distillation(data, {**SETTINGS, "init": "k-means", "pool": pool, "pool_epochs": 3})
    from atom_distill.distillation.run import _embeddings, _preprocessing, _state

    preprocessing = _preprocessing(plan)
    if plan.pool is not None:
        plan.pool.train(preprocessing, Ranks(), show_progress=False)
    embeddings = _embeddings(plan, preprocessing, show_progress=False)
    images = _state(plan, preprocessing, lambda: embeddings).stored["images"]
    for label, indices in enumerate(data.class_indices()):
        rows = embeddings(indices).double()
        middle = indices[(rows - rows.mean(0)).norm(dim=1).argmin()]
        assert torch.equal(images[label], preprocessing.apply(data.train.images[middle : middle + 1])[0])


def test_embeddings_for_k_means_are_those_of_the_last_snapshot_of_the_first_network():
    pool = pool_of(Case())
    preprocessing = fit_preprocessing("normalize", Case().dataset)
    network = pool.new_network().eval()
    pool.load(network, 0, 5)
    indices = torch.tensor([3, 1, 30])
    expected = network.features(preprocessing.apply(Case().dataset.train.images[indices])).embedding
    assert torch.equal(pool.embeddings(preprocessing)(indices), expected)
    assert F.cosine_similarity(expected[0], expected[1], dim=0) < 1


def test_k_means_needs_the_images():
    with pytest.raises(ConfigError, match="ipc 10 is more than the 9 training images"):
        go(init="k-means", ipc=10)


def test_the_memory_of_two_networks_is_counted(monkeypatch):
    """Synthetic images go through the network of the cross-entropy as well."""
    asked = []

    def affordable(_limit, _network, of_one, _demand, held):
        asked.append((of_one.trained, of_one.seen))
        return 7

    monkeypatch.setattr(memory_limit, "affordable_chunk", affordable)
    for more in ({"networks": "snapshot"}, {"label_weight": 1.0}):
        plan_distillation(toy_dataset(), {**SETTINGS, **POOLED, "memory": 2.0, **more})
    (one, seen), two = asked
    assert two == (2 * one, seen)

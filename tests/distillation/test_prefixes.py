"""Nested sets: which first images are matched, from which images of a step, and what the loss is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from atom_distill.base.errors import ConfigError
from atom_distill.base.seeding import generator
from atom_distill.config.augmentation import DSA_OPERATIONS
from atom_distill.distillation.prefixes import Prefixes, usual_sizes
from atom_distill.distillation.shard import Shard
from atom_distill.models.initialization import reinitialize
from atom_distill.processes.ranks import Ranks
from distillation.steps import (
    Case,
    CaseOfImages,
    alone,
    assert_close,
    computed,
    distance,
    drawing,
    reference,
    rows_of,
    statistics,
)
from distillation.toys import go, toy_dataset


def test_the_usual_sizes():
    assert [usual_sizes(rows) for rows in (1, 2, 3, 10, 61, 100)] == [
        [1],
        [1, 2],
        [1, 2, 3],
        [1, 2, 5, 10],
        [1, 2, 5, 10, 20, 50, 61],
        [1, 2, 5, 10, 20, 50, 100],
    ]


@pytest.mark.parametrize(("rows", "batch"), [(1, 1), (7, 7), (20, 20), (20, 5), (61, 40), (173, 8), (343, 40)])
def test_a_step_has_rows_of_every_stratum(rows, batch):
    prefixes = Prefixes(rows, batch)
    assert sum(prefixes.taken) == batch
    chosen = prefixes.choose(torch.rand(rows, generator=torch.Generator().manual_seed(0)))
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    for stratum, count in zip(prefixes.strata, prefixes.taken, strict=True):
        assert sum(row in stratum for row in chosen.tolist()) == count >= 1


@pytest.mark.parametrize("images_per_row", [1, 4])
def test_the_mean_of_every_prefix_is_estimated_without_bias(images_per_row):
    """Over many draws; with all rows in a step it is exact."""
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, 20 * images_per_row, 3, generator=random, dtype=torch.float64)
    exact = torch.stack([vectors[:, : size * images_per_row].mean(1) for size in (1, 2, 5, 10, 20)])
    torch.testing.assert_close(Prefixes(20, 20).means(vectors, images_per_row), exact)
    part = Prefixes(20, 8)
    by_row = vectors.unflatten(1, (20, images_per_row))
    found = torch.stack([
        part.means(by_row[:, part.choose(torch.rand(20, generator=random))].flatten(1, 2), images_per_row)
        for _ in range(4000)
    ])  # fmt: skip
    errors = (found.mean(0) - exact) / (found.std(0) / 4000**0.5).clamp_min(1e-12)
    assert float(errors[3:].abs().max()) < 4.5
    torch.testing.assert_close(found.mean(0)[:2], exact[:2])  # rows 1 and 2 are in every step
    assert float(found.std(0)[3:].min()) > 0


def nested(case: Case, batch: int = 0):
    return drawing(case.step(), batch=batch, prefixes=Prefixes(case.ipc, batch or case.ipc))


@pytest.mark.parametrize("chunk", [1, 1000])
@pytest.mark.parametrize("operations", ["none", DSA_OPERATIONS])
def test_loss_and_gradient_are_those_of_the_sets_of_all_sizes(operations, chunk):
    """Each size by the float64 formula for a set of so many images, weighted by its share of the images."""
    case = Case(augment=operations, ipc=6, chunk=chunk)
    loss, gradient = computed(case, matching=nested(case))
    by_class = case.images().unflatten(0, (len(case.counts), 6))
    total, expected = torch.zeros((), dtype=torch.float64), torch.zeros(by_class.shape, dtype=torch.float64)
    for size in (1, 2, 5, 6):
        part = CaseOfImages(augment=operations, ipc=size, of=by_class[:, :size].flatten(0, 1))
        of_size, its_gradient = reference(part)
        total += size / 6 * of_size
        expected[:, :size] += size / 6 * its_gradient.unflatten(0, (len(case.counts), size))
    assert_close((loss, gradient), (total, expected.flatten(0, 1)))


def test_the_terms_say_what_the_smaller_sets_add():
    case = Case(ipc=6)
    terms = nested(case)({"images": case.images().requires_grad_()}, 5)
    names = nested(case).term_names({"images": case.images()})
    assert names[-1] == "smaller sets"
    assert len(names) == len(terms)
    assert float(terms[:-1].sum()) == pytest.approx(float(computed(case)[0]), rel=1e-5)


def test_a_part_of_the_images_stands_for_all():
    """Weighted means, by loops over the strata."""
    case, step = Case(ipc=12), 5
    matching = nested(case, batch=7)
    loss, gradient = computed(case, step, matching)
    chosen = rows_of(matching.draws, step).view(len(case.counts), 7)
    assert torch.equal(gradient.flatten(1).any(1).nonzero().flatten(), chosen.flatten())
    sampler, network = case.sampler(), case.network()
    reinitialize(network, generator(3, "network", step))
    network = network.double()
    real = sampler.load(sampler.draw(generator(3, "real", step))).double()
    total, start = torch.zeros((), dtype=torch.float64), 0
    for label, count in enumerate(case.counts):
        size = min(count, case.batch_real)
        ours = statistics(network, alone(real[start : start + size], None, label), case)
        start += size
        rows = chosen[label] - 12 * label
        theirs = statistics(network, case.images()[chosen[label]].double(), case)
        for first in (1, 2, 5, 10, 12):
            edges = [0, *[edge for edge in (1, 2, 5, 10, 12) if edge <= first]]
            mean = []
            for weight, values in theirs:
                parts = [
                    (last - before) / first * values[(rows >= before) & (rows < last)].mean(0, keepdim=True)
                    for before, last in itertools.pairwise(edges)
                ]
                mean.append((weight, torch.stack(parts).sum(0)))
            total += first / 12 * distance(ours, mean)
    assert float(loss.detach()) == pytest.approx(float(total.detach()), rel=1e-5)


def test_the_rows_of_a_step_do_not_depend_on_the_number_of_processes():
    case = Case(ipc=12)
    matching = nested(case, batch=7)
    whole = rows_of(matching.draws, 3).view(len(case.counts), 7) % 12
    for rank in (0, 1):
        shard = Shard(Ranks(rank, 2), case.per_class)
        mine = rows_of(replace(matching.draws, shard=shard), 3).view(len(shard.classes), 7) % 12
        assert torch.equal(mine, whole[shard.classes])


def test_the_first_images_of_a_nested_run_match_better():
    """The loss of the first image of each class, as a set of its own, in networks that no run has seen."""
    counts = (30, 30, 30)
    settings = {"data": toy_dataset(counts), "ipc": 5, "steps": 30, "batch_real": 30, "image_optimizer": "adam"}

    def loss(**changes) -> float:
        images = go(**settings, **changes).images.unflatten(0, (3, 5))[:, 0]
        case = CaseOfImages(counts, batch_real=30, of=images)
        return sum(float(computed(case, step)[0].detach()) for step in range(1000, 1005))

    assert loss(nested=True) < 0.9 * loss()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ipc": None, "budget": 9}, "`nested` needs equally many images in each class"),
        ({"ipc": 9, "batch_synthetic": 3}, r"first 1, 2, 5, 9 images of a class .* `batch_synthetic` 4 or more"),
    ],
)
def test_what_cannot_be_nested_is_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        go(nested=True, **settings)


def test_methods_without_prefixes_say_so(capsys):
    go(method="random", nested=True)
    assert "nested" in capsys.readouterr().err

"""Steps on a part of the classes, drawn anew each time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from atom_distill.base.seeding import generator
from atom_distill.config.distill import DSA_OPERATIONS
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.planning import plan_run
from atom_distill.distillation.prefixes import Prefixes
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.step import MatchingStep
from atom_distill.processes.ranks import Ranks
from distillation.steps import PIXELS, SEED, STEP, Case, assert_close, computed, drawing, reference, rows_of
from distillation.toys import go, toy_dataset


def drawn_classes(step: int, count: int, classes: int = 4) -> set[int]:
    return set(torch.randperm(classes, generator=generator(SEED, "classes", step))[:count].tolist())


def rows_with_gradient(gradient: torch.Tensor) -> list[int]:
    return gradient.flatten(1).any(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_loss_and_gradient_are_those_of_the_drawn_classes(count, chunk):
    case = Case(augment=DSA_OPERATIONS, uneven=(1, 5, 2, 3), chunk=chunk)
    loss, gradient = computed(case, matching=drawing(case.step(), batch_classes=count))
    classes = drawn_classes(STEP, count)
    expected_loss, expected = reference(case, classes=classes)
    first = (0, 1, 6, 8, 11)
    rows = [row for label in sorted(classes) for row in range(first[label], first[label + 1])]
    assert rows_with_gradient(gradient) == rows
    assert_close((loss, gradient[rows]), (expected_loss, expected[rows]))


@pytest.mark.parametrize("count", [0, 4, 9])
def test_as_many_classes_as_there_are_is_all(count):
    case = Case(ipc=2)
    whole, all_of_them = computed(case), computed(case, matching=drawing(case.step(), batch_classes=count))
    assert all(torch.equal(one, other) for one, other in zip(whole, all_of_them, strict=True))


def test_more_classes_than_there_are_are_noted(capsys):
    go(None, data=toy_dataset((9, 9)), ipc=1, steps=1, batch_classes=3)
    assert "batch_classes 3: there are 2 classes, so each step has all" in capsys.readouterr().err


def test_every_class_gets_its_turn():
    draws = replace(Case().draws(), batch_classes=2)
    drawn = torch.cat([draws.classes(step).numbers for step in range(60)]).bincount(minlength=4)
    assert int(drawn.sum()) == 120
    assert int(drawn.min()) > 20


def test_a_part_of_the_images_is_the_same_one_as_with_all_classes():
    draws = replace(Case(ipc=6).draws(), batch=2)
    every, some = rows_of(draws, STEP), rows_of(replace(draws, batch_classes=2), STEP)
    classes = torch.tensor(sorted(drawn_classes(STEP, 2)))
    assert torch.equal(some, every.view(4, 2)[classes].flatten())


@pytest.mark.parametrize("count", [1, 2])
def test_processes_share_the_classes_of_a_step(count):
    case = Case(ipc=3, augment="color_crop")
    _, whole = computed(case, matching=drawing(case.step(), batch_classes=count))
    images = case.images().unflatten(0, (4, 3))
    found = torch.zeros_like(whole).unflatten(0, (4, 3))
    for rank in (0, 1):
        shard = Shard(Ranks(rank, 2), case.per_class)
        sampler = case.sampler_of(shard.classes)
        step = drawing(case.step(), shard=shard, sampler=sampler, batch_classes=count)
        mine = images[shard.classes].flatten(0, 1).requires_grad_()
        step({"images": mine}, STEP)
        found[shard.classes] = mine.grad.unflatten(0, (2, 3))
    torch.testing.assert_close(found.flatten(0, 1), whole)


def test_added_classes_follow_the_draws_of_a_run_of_all():
    case = Case(ipc=2, chunk=4)
    of_all = drawing(case.step(), batch_classes=2)
    classes = drawn_classes(STEP, 2)
    kept = max(classes)
    _, whole = computed(case, matching=of_all)
    _, added = computed(case, matching=drawing(of_all, growing=torch.tensor([kept])))
    assert rows_with_gradient(added) == [2 * kept, 2 * kept + 1]
    assert torch.equal(added[2 * kept :][:2], whole[2 * kept :][:2])


def test_the_smaller_sets_of_a_nested_one_are_those_of_the_drawn_classes():
    case = Case(ipc=6)
    nested = drawing(case.step(), prefixes=Prefixes(6, 6))
    _, whole = computed(case, matching=nested)
    _, some = computed(case, matching=drawing(nested, batch_classes=2))
    classes = sorted(drawn_classes(STEP, 2))
    torch.testing.assert_close(some.unflatten(0, (4, 6))[classes], whole.unflatten(0, (4, 6))[classes])
    assert rows_with_gradient(some) == [row for label in classes for row in range(6 * label, 6 * label + 6)]


def test_compiled_code_sees_batches_of_one_size():
    """What fills them up changes nothing."""
    case = Case(uneven=(1, 5, 2, 3), chunk=5)
    plain, filled = (drawing(case.step(), batch_classes=2) for _ in range(2))
    filled.encoder.compiled = True
    sizes: dict[str, set[int]] = {"_real": set(), "_synthetic": set()}
    for name, seen in sizes.items():
        compute = getattr(filled.encoder, name)
        setattr(filled.encoder, name, lambda images, *rest, c=compute, s=seen: s.add(len(images)) or c(images, *rest))
    for step in range(6):
        torch.testing.assert_close(computed(case, step, filled), computed(case, step, plain))
    assert sizes == {"_real": {5}, "_synthetic": {5}}


def test_images_of_other_classes_stay_where_they_are():
    settings = {"ipc": 2, "steps": 1, "batch_classes": 1, "image_optimizer": "adam", "seed": SEED}
    before, after = (go(None, data=toy_dataset((9, 9, 9)), **{**settings, "steps": steps}) for steps in (1, 2))
    moved = (before.images != after.images).flatten(1).any(1).nonzero().flatten().tolist()
    (label,) = drawn_classes(1, 1, classes=3)
    assert moved == [2 * label, 2 * label + 1]


def test_a_run_can_be_resumed(tmp_path):
    settings = {"data": toy_dataset((9, 4, 9)), "ipc": 2, "batch_classes": 2, "batch_real": 6}
    whole = go(None, **settings, steps=6)
    go(tmp_path / "run", **settings, steps=3)
    resumed = go(tmp_path / "run", **settings, steps=6, resume=True)
    assert torch.equal(whole.images, resumed.images)


def test_processes_fill_up_to_their_share_of_a_step():
    class Compiled:
        compiled = True

    draws = replace(Case().draws(), shard=Shard(Ranks(0, 4), torch.full((100,), 10)), batch_classes=20)
    step = MatchingStep(draws, Compiled(), PIXELS, 2048)
    assert [len(step._padded(torch.zeros(10 * count, 1, 1, 1))) for count in (1, 5, 6)] == [50, 50, 100]


@pytest.mark.parametrize(("counts", "compiled"), [((9, 9), True), ((9, 5), False)])
def test_nothing_fills_up_a_batch_that_is_normalized_over(counts, compiled):
    plan = plan_run(
        toy_dataset(counts),
        {"ipc": 1, "norm": "batch", "batch_classes": 1, "batch_real": 9, "compile": "on", "device": "cpu"},
        ranks=Ranks(),
    )
    assert plan.method.matching(plan, fit_preprocessing("normalize", plan.dataset)).encoder.compiled == compiled


def test_a_step_that_no_class_grows_in_has_no_loss():
    case = Case(ipc=2)
    kept = min(set(range(4)) - drawn_classes(STEP, 1))
    step = drawing(case.step(), batch_classes=1, growing=torch.tensor([kept]))
    terms = step({"images": case.images().requires_grad_()}, STEP)
    assert terms.tolist() == [0.0] * len(step.term_names({"images": case.images()}))
    assert step._blocks_of(STEP) == []

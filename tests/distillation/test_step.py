"""One step against a slow float64 twin."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from atom_distill.base.device import can_compile, pick_device
from atom_distill.base.errors import ConfigError
from atom_distill.config.distill import DSA_OPERATIONS
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.encoder import Encoder
from atom_distill.distillation.images_per_class import class_labels
from atom_distill.distillation.initial_images import initial_images
from atom_distill.distillation.matching_execution import MatchingExecution, plan_execution
from atom_distill.distillation.network_sources import FreshNetworks
from atom_distill.distillation.shard import Shard
from atom_distill.distillation.step import MatchingStep, class_ranges
from atom_distill.distillation.step_draws import StepDraws
from atom_distill.ops.matching import Objective, Statistic
from atom_distill.processes.ranks import Ranks
from distillation.steps import (
    CPU,
    PIXELS,
    SEED,
    STEP,
    Case,
    CaseOfImages,
    assert_close,
    computed,
    drawing,
    reference,
    rows_of,
)
from distillation.toys import toy_dataset


@pytest.mark.parametrize("operations", ["none", DSA_OPERATIONS, *DSA_OPERATIONS.split("_")])
@pytest.mark.parametrize("ipc", [1, 3])
def test_loss_and_gradient_equal_the_float64_formula(operations, ipc):
    case = Case(augment=operations, ipc=ipc)
    assert_close(computed(case), reference(case))


@pytest.mark.parametrize("chunk", [1, 4, 6, 1000])
def test_classes_of_different_sizes_equal_the_formula(chunk):
    case = Case(augment=DSA_OPERATIONS, uneven=(1, 5, 2, 3), chunk=chunk)
    assert_close(computed(case), reference(case))


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_step_on_a_part_of_the_images_is_that_of_a_set_of_these(chunk):
    case = Case(augment=DSA_OPERATIONS, uneven=(1, 5, 2, 3), chunk=chunk)
    loss, gradient = computed(case, matching=drawing(case.step(), batch=2))
    drawn = gradient.flatten(1).any(1)
    assert [int(part.sum()) for part in drawn.split([1, 5, 2, 3])] == [1, 2, 2, 2]
    part = CaseOfImages(augment=DSA_OPERATIONS, uneven=(1, 2, 2, 2), of=case.images()[drawn])
    assert_close((loss, gradient[drawn]), reference(part))


def test_every_image_gets_its_turn_whatever_the_number_of_processes():
    case = Case(uneven=(1, 5, 2, 3))
    draws = replace(case.draws(), batch=2)
    of_class = torch.tensor([0, *[1] * 5, *[2] * 2, *[3] * 3])
    drawn = [rows_of(draws, step) for step in range(40)]
    counts = torch.cat(drawn).bincount(minlength=11)
    assert counts[[0, 6, 7]].tolist() == [40, 40, 40]
    assert int(counts.min()) > 5
    for rank in (0, 1):
        shard = Shard(Ranks(rank, 2), case.per_class)
        rows = torch.isin(of_class, shard.classes).nonzero().flatten()
        mine = [rows[rows_of(replace(draws, shard=shard), step)] for step in range(40)]
        assert all(
            torch.equal(part, everything[torch.isin(everything, rows)])
            for part, everything in zip(mine, drawn, strict=True)
        )


@pytest.mark.parametrize("method", ["atom", "datadam", "dm"])
def test_every_method_equals_its_formula(method):
    case = Case(method=method, augment="flip_color")
    assert_close(computed(case), reference(case))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("atom", {"spatial": False}),
        ("atom", {"channel": False}),
        ("atom", {"embedding": False}),
        ("atom", {"spatial": False, "channel": False}),
        ("dm", {"spatial": True, "embedding": False}),
        ("atom", {"task_balance": 0.5}),
        ("atom", {"spatial_power": 2.0, "channel_power": 1.0}),
        ("datadam", {"spatial_power": 3.0}),
    ],
)
def test_every_switch_equals_its_formula(method, settings):
    case = Case(method=method, settings=tuple(settings.items()))
    assert_close(computed(case), reference(case))
    assert not torch.allclose(computed(case)[1], computed(replace(case, settings=()))[1])


def test_the_methods_are_settings_of_one_objective():
    off = lambda **switches: Case(settings=tuple(switches.items()))  # noqa: E731
    assert torch.equal(computed(Case(method="datadam"))[1], computed(off(channel=False))[1])
    assert torch.equal(computed(Case(method="dm"))[1], computed(off(channel=False, spatial=False))[1])


def test_nothing_to_match_is_refused():
    with pytest.raises(ConfigError, match="nothing is left to match: switch on `spatial`"):
        Case(method="dm", settings=(("embedding", False),)).step()


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 23])
def test_chunks_change_nothing(chunk):
    whole = computed(Case(ipc=3, augment=DSA_OPERATIONS))
    assert_close(computed(Case(ipc=3, augment=DSA_OPERATIONS, chunk=chunk)), whole)


@pytest.mark.parametrize("classes", [2, 3, 10, 17])
@pytest.mark.parametrize("ipc", [1, 3, 50])
@pytest.mark.parametrize("chunk", [1, 4, 30, 10_000])
def test_class_ranges_cover_every_class_once_in_two_sizes_at_most(classes, ipc, chunk):
    case = Case(counts=(2,) * classes, ipc=ipc)
    ranges = list(class_ranges(case.per_class, chunk))
    assert [label for first, last in ranges for label in range(first, last)] == list(range(classes))
    sizes = {last - first for first, last in ranges}
    assert len(sizes) <= 2
    assert max(sizes) * ipc <= max(chunk, ipc)


@pytest.mark.parametrize("operations", ["none", DSA_OPERATIONS])
def test_a_bfloat16_real_branch_stays_near_the_formula(operations):
    case = Case(counts=(40, 40, 40), batch_real=32, augment=operations, dtype=torch.bfloat16)
    assert_close(computed(case), reference(case), tolerance=3e-2)


@pytest.mark.parametrize("real", [torch.float32, torch.bfloat16])
def test_a_bfloat16_synthetic_branch_points_the_same_way(real):
    """Rounding flips some ReLUs, so the gradient is less near than the loss."""
    case = Case(counts=(40, 40, 40), batch_real=32, ipc=4, dtype=real, synthetic_dtype=torch.bfloat16)
    loss, gradient = computed(case)
    wanted_loss, wanted = reference(case)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(loss.double(), wanted_loss, rtol=3e-2, atol=0)
    assert float((gradient - wanted).norm() / wanted.norm()) < 0.15


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(CPU), reason="torch.compile finds no C++ compiler here")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 3e-2)])
def test_the_compiled_step_stays_near_the_formula_over_many_draws(dtype, tolerance, capsys):
    """Each step has its own network, real images and augmentation; all are computed by what was compiled once."""
    sizes = {"counts": (40, 40, 40), "batch_real": 32, "ipc": 2, "depth": 2}  # a third layer takes as long to compile
    case = Case(**sizes, augment=DSA_OPERATIONS, dtype=dtype, compiled=True)
    matching = case.step()
    for step in range(6):
        assert_close(computed(case, step, matching), reference(case, step), tolerance)
    assert "torch.compile failed" not in capsys.readouterr().err


def test_a_step_can_be_replayed_alone():
    case = Case(augment=DSA_OPERATIONS)
    matching = case.step()
    for step in range(STEP):
        computed(case, step, matching)
    after_others, alone_again = computed(case, STEP, matching), computed(case, STEP)
    assert torch.equal(after_others[1], alone_again[1])
    assert torch.equal(after_others[0], alone_again[0])
    assert not torch.equal(computed(case, STEP + 1)[1], alone_again[1])


def test_a_class_follows_its_own_images_only():
    case = Case(ipc=3)
    images = case.images()
    images[:3] += 1  # class 0
    moved = images.requires_grad_()
    case.step()({"images": moved}, STEP)
    before = computed(case)[1]
    assert torch.equal(moved.grad[3:], before[3:])
    assert not torch.allclose(moved.grad[:3], before[:3])


def test_the_gradient_is_added_to_what_is_there():
    case = Case()
    images = case.images().requires_grad_()
    matching = case.step()
    matching({"images": images}, STEP)
    once = images.grad.clone()
    matching({"images": images}, STEP)
    torch.testing.assert_close(images.grad, 2 * once)


def test_equal_images_have_no_loss():
    case = Case(counts=(4, 4), ipc=4, batch_real=4)
    dataset = case.dataset
    images = torch.cat([dataset.train.images[indices] for indices in dataset.class_indices()])
    real = fit_preprocessing("normalize", dataset).apply(images)
    assert float(case.step()({"images": real.requires_grad_()}, STEP).sum()) == pytest.approx(0, abs=1e-8)


def test_a_method_of_ones_own_is_a_function_from_features_to_statistics():
    case = Case()
    execution = MatchingExecution(CPU, torch.float32, compiled=False, chunk=1000)
    brightness = lambda features: features.embedding.mean(1, keepdim=True)  # noqa: E731
    losses = []
    for weight in (1.0, 4.0):
        weighted = lambda features, w=weight: [Statistic(brightness(features), w)]  # noqa: E731
        encoder = Encoder(case.network(), Objective(weighted), FreshNetworks(SEED), execution)
        step = MatchingStep(case.draws(), encoder, PIXELS, 1000)
        losses.append(step({"images": case.images().requires_grad_()}, STEP))
    assert float(losses[1]) == pytest.approx(4 * float(losses[0]), rel=1e-5)


def test_ranges_of_classes_of_different_sizes_keep_to_the_chunk():
    assert list(class_ranges(torch.tensor([3, 1, 8, 2, 2]), 4)) == [(0, 2), (2, 3), (3, 5)]


@pytest.mark.parametrize("compiled", [True, False])
def test_ranges_are_filled_up_for_compiled_code_alone_and_by_little(compiled):
    """One large class must not make every range as large: 6540 images would become 30,600."""

    class Told:
        def __init__(self) -> None:
            self.compiled = compiled

    counts = torch.tensor([600] + [60] * 99)
    matching = MatchingStep(StepDraws(Shard(Ranks(), counts), None, (), SEED), Told(), PIXELS, 128)
    sizes = [int(counts[first:last].sum()) for first, last in class_ranges(counts, 128)]
    filled = [len(matching._padded(torch.zeros(size, 1, 1, 1))) for size in sizes]
    assert filled == ([640] + [128] * 50 if compiled else sizes)


def test_ranges_are_filled_up_to_the_largest_of_them():
    class Compiled:
        compiled = True

    counts = torch.tensor([42] * 5 + [41] * 5)
    matching = MatchingStep(StepDraws(Shard(Ranks(), counts), None, (), SEED), Compiled(), PIXELS, 64)
    filled = [len(matching._padded(torch.zeros(count, 1, 1, 1))) for count in counts.tolist()]
    assert filled == [42] * 10  # 64 would be half as much again


def test_real_initial_images_are_training_images_of_their_class():
    dataset = toy_dataset((5, 9, 7))
    preprocessing = fit_preprocessing("normalize", dataset)
    four = torch.tensor([4, 4, 4])
    images = initial_images(dataset, preprocessing, init="real", per_class=four, seed=0)
    ours = preprocessing.invert(images).mul(255).round().to(torch.uint8).flatten(1)
    train = dataset.train.images.flatten(1)
    found = [int((train == image).all(1).nonzero().item()) for image in ours]  # each is exactly one of them
    assert dataset.train.labels[found].tolist() == class_labels(four).tolist()
    assert len(set(found)) == 12
    other = initial_images(dataset, preprocessing, init="real", per_class=four, seed=1)
    assert not torch.equal(images, other)
    assert torch.equal(images, initial_images(dataset, preprocessing, init="real", per_class=four, seed=0))


def test_noise_is_standard_normal_and_follows_the_seed():
    dataset = toy_dataset((5, 5))
    fifty = torch.tensor([50, 50])
    noise = lambda seed: initial_images(dataset, None, init="noise", per_class=fifty, seed=seed)  # noqa: E731
    assert noise(0).shape == (100, 3, 8, 8)
    assert noise(0).mean().abs() < 0.03
    assert abs(noise(0).std() - 1) < 0.03
    assert torch.equal(noise(0), noise(0))
    assert not torch.equal(noise(0), noise(1))


def test_compiling_waits_for_a_long_run_and_obeys():
    config = Case().config.model_copy(update={"device": "cpu", "steps": 1})
    assert not plan_execution(config, (3, 8, 8), 4).compiled
    assert plan_execution(config.model_copy(update={"compile": "on"}), (3, 8, 8), 4).compiled
    long = config.model_copy(update={"compile": "off", "steps": 10**6})
    assert not plan_execution(long, (3, 8, 8), 4).compiled


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=f"device '{name}' is not available here"):
        pick_device(name)

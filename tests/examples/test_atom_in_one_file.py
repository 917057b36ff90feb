"""The plain loop and the package compute the same: each is the other's reference."""

from __future__ import annotations

import math
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import atom_distill as ad
from atom_distill.base.seeding import generator
from atom_distill.models.initialization import reinitialize
from atom_distill.ops.attention import channel_attention, spatial_attention
from atom_distill.ops.dsa import OPERATIONS, Draw, augment, draw_per_class
from atom_distill.ops.matching import class_means, matching_loss
from distillation.toys import toy_dataset

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "atom_in_one_file.py"
PLAIN = SimpleNamespace(**runpy.run_path(str(FILE)))
SHAPE = (3, 16, 16)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
CORNERS = [(u, v, 0.25) for u in (0.0, 0.49, 0.999) for v in (0.0, 0.51, 0.999)]
"""Numbers that bring out the ends of what an operation may do, and its middle."""


def plain_draws(draw: Draw) -> list[tuple[str, list[float]]]:
    """The rows of a draw, as the file takes them."""
    operations = [OPERATIONS[index] for index in draw.operation.tolist()]
    return list(zip(operations, draw.uniforms.tolist(), strict=True))


def plain_copy(network: nn.Module) -> nn.Module:
    """The file's network, with the weights of one of the package's."""
    weights = list(network.parameters())
    copy = PLAIN.ConvNet(SHAPE, len(weights[-1])).to(weights[0].dtype)
    with torch.no_grad():
        for mine, theirs in zip(copy.parameters(), weights, strict=True):
            assert mine.shape == theirs.shape
            mine.copy_(theirs)
    return copy.requires_grad_(False)


def random_network(num_classes: int) -> nn.Module:
    """In float64, with scales and shifts of the norms that are not 1 and 0."""
    network = ad.build_model("convnet", SHAPE, num_classes).double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return network


def package_vectors(network: nn.Module, images: Tensor) -> Tensor:
    """All that ATOM matches of each image, weighted, side by side."""
    found = network.features(images)
    attention = [of(maps) for maps in found.maps[:-1] for of in (spatial_attention, channel_attention)]
    return torch.cat([*attention, math.sqrt(0.01) * found.embedding], dim=1)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("side", [7, 8, 13, 32])
def test_every_operation_is_the_packages(operation, side, randn):
    images, first_row = randn(0, 3, 3, side, side), torch.zeros(3, dtype=torch.int64)
    for numbers in CORNERS:
        draw = Draw(torch.tensor([OPERATIONS.index(operation)]), torch.tensor([numbers]))
        (row,) = plain_draws(draw)
        torch.testing.assert_close(PLAIN.augment(images, row), augment(images, draw, first_row), **CLOSE)


def test_operations_are_the_packages_and_are_drawn_uniformly():
    torch.manual_seed(0)
    drawn = [PLAIN.random_draw() for _ in range(600)]
    assert PLAIN.OPERATIONS == OPERATIONS
    counts = [sum(operation == name for operation, _ in drawn) for name in OPERATIONS]
    assert min(counts) > 70
    assert max(counts) < 130
    for place in range(3):
        numbers = torch.tensor([numbers[place] for _, numbers in drawn])
        assert 0 <= numbers.min() < 0.02
        assert 0.98 < numbers.max() < 1


def test_networks_have_the_same_maps_and_embedding(randn):
    network = random_network(4)
    images = randn(0, 5, *SHAPE)
    maps, embedding = plain_copy(network)(images)
    found = network.features(images)
    torch.testing.assert_close(maps, list(found.maps), **CLOSE)
    torch.testing.assert_close(embedding, found.embedding, **CLOSE)


def test_attention_is_the_packages(randn):
    maps = randn(0, 4, 6, 5, 5).relu()
    maps[0] = 0  # a blank image
    torch.testing.assert_close(PLAIN.spatial_attention(maps), spatial_attention(maps), **CLOSE)
    torch.testing.assert_close(PLAIN.channel_attention(maps), channel_attention(maps), **CLOSE)


@pytest.mark.parametrize("ipc", [1, 3])
def test_loss_and_gradient_are_the_packages(ipc, randn):
    counts = (7, 2, 9, 5, 4, 6)  # classes of the batch differ in size, and each has an operation of its own
    network = random_network(len(counts))
    draw = Draw(torch.arange(6), torch.rand(6, 3, generator=torch.Generator().manual_seed(ipc)))
    real = [randn(label, count, *SHAPE) for label, count in enumerate(counts)]
    synthetic = randn(99, len(counts), ipc, *SHAPE).requires_grad_()
    loss = PLAIN.distillation_loss(plain_copy(network), real, synthetic, plain_draws(draw))
    (gradient,) = torch.autograd.grad(loss, synthetic)

    def means(images: Tensor, per_class: Tensor) -> Tensor:
        labels = torch.arange(len(counts)).repeat_interleave(per_class)
        return class_means(package_vectors(network, augment(images, draw, labels)), labels, len(counts))

    means_real = means(torch.cat(real), torch.tensor(counts)).detach()
    expected = matching_loss(means_real, means(synthetic.flatten(0, 1), torch.full((len(counts),), ipc)))
    (expected_gradient,) = torch.autograd.grad(expected, synthetic)
    torch.testing.assert_close(loss, expected, **CLOSE)
    torch.testing.assert_close(gradient, expected_gradient, **CLOSE)
    assert gradient.flatten(1).norm(dim=1).min() > 1e-3


@pytest.mark.parametrize(("seed", "ipc"), [(0, 1), (1, 3), (2, 2)])
def test_three_steps_from_the_same_draws_make_the_same_images(seed, ipc, monkeypatch):
    data = toy_dataset((9, 20, 12, 30), shape=SHAPE)  # every batch is the whole class, so only its order differs
    given = {"preprocess": "normalize", "seed": seed, "show_progress": False}
    start = ad.distill(data, ipc, "random", **given)
    exact = {"device": "cpu", "compile": "off", "real_dtype": "float32"}
    tiny = ad.distill(data, ipc, steps=3, width=8, **exact, **given)

    draws = (draw_per_class(data.num_classes, OPERATIONS, generator(seed, "augment", step)) for step in range(3))
    rows = (row for draw in draws for row in plain_draws(draw))
    monkeypatch.setitem(PLAIN.distill.__globals__, "random_draw", lambda: next(rows))
    steps = iter(range(3))

    def new_network() -> nn.Module:
        network = PLAIN.ConvNet(SHAPE, data.num_classes, width=8)
        reinitialize(network, generator(seed, "network", next(steps)))
        return network

    images, labels = start.preprocessing.apply(data.train.images), data.train.labels
    real = [images[labels == label] for label in range(data.num_classes)]
    synthetic = start.images.unflatten(0, (data.num_classes, ipc)).clone().requires_grad_()
    losses = list(PLAIN.distill(real, synthetic, new_network, steps=3))

    assert losses == pytest.approx([entry["loss"] for entry in tiny.history], rel=1e-4)
    moved = (tiny.images - start.images).flatten(1).norm(dim=1)
    errors = (synthetic.detach().flatten(0, 1) - tiny.images).flatten(1).norm(dim=1) / moved
    assert moved.min() > 0.01
    *most, largest = errors.sort().values
    assert max(most) < 1e-4
    assert largest < 1e-2  # a ReLU may open by rounding in the one and not in the other, which one image shows


def test_each_step_draws_a_network_and_some_real_images_of_each_class(randn):
    torch.manual_seed(0)
    networks, seen = [], []

    def new_network() -> nn.Module:
        networks.append(PLAIN.ConvNet(SHAPE, 2, width=8))
        networks[-1].register_forward_pre_hook(lambda _network, inputs: seen.append(len(inputs[0])))
        return networks[-1]

    real = [randn(0, 9, *SHAPE).float(), randn(1, 3, *SHAPE).float()]
    start = randn(9, 2, 2, *SHAPE).float()
    synthetic = start.clone().requires_grad_()
    losses = list(PLAIN.distill(real, synthetic, new_network, steps=3, batch_real=4))
    assert len(losses) == len(networks) == 3
    assert seen == [4, 2, 3, 2] * 3  # all that a class has, where it has fewer
    assert (synthetic - start).flatten(2).norm(dim=2).min() > 1e-3
    first, second, _ = (next(network.parameters()) for network in networks)
    assert not torch.equal(first, second)


def test_the_benchmarks_time_this_loop(monkeypatch, randn):
    monkeypatch.setattr(sys, "path", [*sys.path])
    plain = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "plain.py")))
    assert Path(plain.distill.__code__.co_filename) == FILE
    for norm, layer in (("instance", nn.GroupNorm), ("batch", nn.BatchNorm2d)):
        network = plain.new_network(SHAPE, 2, depth=2, norm=norm)
        assert [type(block[1]) for block in network.blocks] == [layer, layer]
    stripes = randn(0, 12, *SHAPE).float()
    stripes[:6, :, :4] += 4
    labels = torch.tensor([0, 1]).repeat_interleave(6)
    assert plain.evaluate(stripes, labels, stripes, labels, epochs=8, networks=2) == [100, 100]


def test_the_script_ends_with_both_accuracies(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", f"{FILE.name} digits --steps 2 --ipc 2 --epochs 30".split())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    runpy.run_path(str(FILE), run_name="__main__")
    printed = capsys.readouterr().out
    assert float(re.search(r"^step 2: loss ([\d.]+)$", printed, re.M)[1]) > 0
    random, atom = (float(percent) for percent in re.findall(r"([\d.]+) % test accuracy$", printed, re.M))
    assert "random real images: " in printed
    assert "ATOM: " in printed
    assert 40 < random <= 100
    assert 5 < atom <= 100  # two steps are no distillation


def test_it_can_be_read_in_one_sitting():
    assert len(FILE.read_text("utf-8").splitlines()) <= 180

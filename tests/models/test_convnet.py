"""ConvNet against a float64 oracle, parameter counts by hand, and all settings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import oracles.convnet as oracle
from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.base.network_shape import ACTIVATIONS, NORMS, POOLINGS, NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.convnet import default_depth
from atom_distill.models.registry import MODELS


def seeded(network: nn.Module) -> nn.Module:
    """Set random weights in the norms too: the default 1 and 0 would hide errors."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -0.5, 1.0, generator=generator)
    return network


def as_arrays(block: nn.Module) -> oracle.Block:
    tensors = (block.conv.weight, block.conv.bias, block.norm.weight, block.norm.bias)
    return oracle.Block(*(tensor.detach().double().numpy() for tensor in tensors))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("image_shape", "depth"), [((3, 8, 8), 2), ((1, 8, 8), 3), ((2, 6, 10), 2)])
def test_forward_matches_the_oracle(image_shape, depth, dtype, randn, near):
    network = seeded(build_model("convnet", image_shape, 4, NetworkShape(depth=depth, width=3))).to(dtype)
    images = randn(0, 3, *image_shape).to(dtype)
    blocks = [as_arrays(block) for block in network.blocks]
    weight, bias = (p.detach().double().numpy() for p in network.classifier.parameters())
    each = [oracle.features(image, blocks) for image in images.double().numpy()]

    features = network.features(images)
    maps, embedding = features.maps, features.embedding
    loose = {"atol": 1e-5} if dtype == torch.float32 else {}
    for layer in range(depth):
        near(maps[layer], np.stack([maps_of_one[layer] for maps_of_one, _ in each]), **loose)
    near(embedding, np.stack([vector for _, vector in each]), **loose)
    near(network(images), np.stack([oracle.logits(vector, weight, bias) for _, vector in each]), **loose)


def test_maps_are_taken_after_the_activation_and_before_the_pooling(randn):
    network = build_model("convnet", (3, 16, 16), 4, NetworkShape(width=8))
    features = network.features(randn(1, 2, 3, 16, 16).float())
    maps, embedding = features.maps, features.embedding
    assert [tuple(m.shape) for m in maps] == [(2, 8, 16, 16), (2, 8, 8, 8), (2, 8, 4, 4)]
    assert all(m.min() == 0 for m in maps)
    assert torch.equal(embedding, nn.functional.avg_pool2d(maps[-1], 2).flatten(1))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_combination_builds_and_gives_the_right_shapes(norm, activation, pooling, randn):
    for side, depth in itertools.product((8, 32), (1, 2, 3)):
        shape = NetworkShape(depth=depth, width=4, norm=norm, activation=activation, pooling=pooling)
        network = build_model("convnet", (3, side, side), 5, shape)
        images = randn(2, 2, 3, side, side).float().requires_grad_()
        features = network.features(images)
        maps, embedding = features.maps, features.embedding
        shrink = 1 if pooling == "none" else 2
        assert [tuple(m.shape) for m in maps] == [(2, 4, side // shrink**i, side // shrink**i) for i in range(depth)]
        assert embedding.shape == (2, 4 * (side // shrink**depth) ** 2)
        logits = network(images)
        assert logits.shape == (2, 5)
        logits.sum().backward()
        assert torch.isfinite(images.grad).all()


@pytest.mark.parametrize(
    ("norm", "layer", "parameters"),
    [
        ("none", nn.Identity, 0),
        ("batch", nn.BatchNorm2d, 2 * 8),
        ("layer", nn.LayerNorm, 2 * 8 * 16 * 16),
        ("instance", nn.GroupNorm, 2 * 8),
        ("group", nn.GroupNorm, 2 * 8),
    ],
)
def test_each_norm_is_what_its_name_says(norm, layer, parameters):
    network = build_model("convnet", (3, 16, 16), 2, NetworkShape(width=8, norm=norm))
    first = network.blocks[0].norm
    assert type(first) is layer
    assert sum(p.numel() for p in first.parameters()) == parameters
    if layer is nn.GroupNorm:
        assert first.num_groups == {"instance": 8, "group": 4}[norm]


def test_parameter_counts_by_hand():
    def count(image_shape: tuple[int, int, int], classes: int) -> int:
        return sum(p.numel() for p in build_model("convnet", image_shape, classes).parameters())

    block_1, block_n = 3 * 128 * 9 + 128 + 2 * 128, 128 * 128 * 9 + 128 + 2 * 128
    assert count((3, 32, 32), 10) == block_1 + 2 * block_n + 128 * 4 * 4 * 10 + 10 == 320_010
    assert count((3, 64, 64), 200) == block_1 + 3 * block_n + 128 * 4 * 4 * 200 + 200
    assert count((1, 8, 8), 10) == block_1 - 2 * 128 * 9 + 2 * block_n + 128 * 10 + 10


@pytest.mark.parametrize(
    ("resolution", "depth"), [(8, 3), (16, 3), (28, 3), (32, 3), (33, 4), (64, 4), (128, 5), (4, 2), (2, 1)]
)
def test_default_depth(resolution, depth):
    assert default_depth(resolution) == depth
    assert len(build_model("convnet", (1, resolution, resolution), 2, NetworkShape(width=2)).blocks) == depth


def test_a_depth_that_pools_the_image_away_is_explained():
    with pytest.raises(ConfigError, match=r"depth 4 pools 8x8 images to nothing: use .* at most 3, or pooling none"):
        build_model("convnet", (3, 8, 8), 10, NetworkShape(depth=4))
    with pytest.raises(ConfigError, match="at most 2"):
        build_model("convnet", (3, 32, 6), 10, NetworkShape(depth=3))
    assert len(build_model("convnet", (3, 32, 6), 10).blocks) == 2
    assert len(build_model("convnet", (3, 8, 8), 10, NetworkShape(depth=4, width=2, pooling="none")).blocks) == 4


def test_groups_that_do_not_divide_the_width_are_explained():
    with pytest.raises(ConfigError, match="4"):
        build_model("convnet", (3, 8, 8), 10, NetworkShape(width=6, norm="group"))


def test_an_unknown_architecture_gets_a_suggestion():
    build_model("convnet", (1, 8, 8), 2, NetworkShape(width=2))
    assert "convnet" in MODELS
    with pytest.raises(UnknownNameError, match=r"unknown architecture 'convnett'. Did you mean 'convnet'\? Known:"):
        build_model("convnett", (3, 32, 32), 10)

"""Attention against a float64 oracle, and its invariants."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

import oracles.attention as oracle
from atom_distill.base.errors import ShapeError
from atom_distill.ops.attention import (
    attention_to_places,
    channel_attention,
    spatial_attention,
    token_channel_attention,
)

POWERS = [1.0, 2.0, 3.0, 4.0, 8.0]
BOTH = [
    pytest.param(spatial_attention, oracle.spatial_attention, id="spatial"),
    pytest.param(channel_attention, oracle.channel_attention, id="channel"),
]


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("ours", "twin"), BOTH)
def test_values_match_oracle(ours, twin, dtype, power, device, randn, near):
    features = randn(0, 3, 5, 4, 6).to(dtype)
    got = ours(features.to(device), power=power)
    want = np.stack([twin(image, power) for image in features.double().numpy()])
    assert got.dtype == dtype
    near(got, want, atol=0.0)


@pytest.mark.parametrize("power", [1.0, 4.0, 8.0])
@pytest.mark.parametrize(("ours", "twin"), BOTH)
def test_bfloat16_features_are_raised_in_float32(ours, twin, power, device, randn, near):
    features = randn(1, 2, 4, 4, 4).bfloat16()
    got = ours(features.to(device), power=power)
    assert got.dtype == torch.float32
    near(got, np.stack([twin(image, power) for image in features.double().numpy()]))


@pytest.mark.parametrize(("ours", "twin"), BOTH)
def test_default_power_is_four(ours, twin, randn, near):
    features = randn(2, 1, 3, 4, 4)
    near(ours(features), twin(features[0].numpy(), 4.0)[None])


def test_shapes_are_places_and_channels(randn):
    features = randn(3, 2, 5, 4, 6)
    assert spatial_attention(features).shape == (2, 24)
    assert channel_attention(features).shape == (2, 5)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("ours", [spatial_attention, channel_attention])
def test_each_image_has_length_one_whatever_its_scale(ours, power, randn):
    features = randn(4, 4, 3, 5, 5) * torch.tensor([0.01, 0.3, 1.0, 100.0], dtype=torch.float64).view(-1, 1, 1, 1)
    torch.testing.assert_close(ours(features, power=power).norm(dim=1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("power", "factor"),
    [
        *product([1.0, 2.5, 4.0], [1e-4, 1e-3, 1.0, 1000.0]),
        *product([5.0, 8.0, 16.0, 100.0], [1e-30, 1e-6, 1e-3, 1.0, 1000.0, 1e5, 1e30]),
    ],
)
@pytest.mark.parametrize("ours", [spatial_attention, channel_attention])
def test_the_scale_of_features_does_not_count_in_float32(ours, factor, power, device, near):
    features = torch.rand(2, 16, 8, 8, generator=torch.Generator().manual_seed(30), dtype=torch.float64)
    small = (factor * features).float().to(device).requires_grad_()
    got = ours(small, power=power)
    near(got, ours(features, power=power).numpy())
    got[:, 0].sum().backward()
    assert torch.isfinite(small.grad).all()
    assert small.grad.any()


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("ours", [spatial_attention, channel_attention])
def test_ordinary_features_are_not_rounded_by_scaling(ours, power, randn):
    features = randn(31, 2, 8, 6, 6).float()
    energy = features.abs().pow(power) if power in (1.0, 3.0) else features
    for _ in range({2.0: 1, 4.0: 2, 8.0: 3}.get(power, 0)):
        energy = energy.square()
    sums = energy.sum(1).flatten(1) if ours is spatial_attention else energy.sum((2, 3))
    assert torch.equal(ours(features, power=power), torch.nn.functional.normalize(sums, dim=1))


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("ours", [spatial_attention, channel_attention])
def test_a_blank_image_gives_zeros_and_a_finite_gradient(ours, power, randn):
    features = randn(5, 2, 3, 4, 4).float()
    features[1] = 0
    features.requires_grad_()
    attention = ours(features, power=power)
    attention.square().sum().backward()
    assert torch.equal(attention[1], torch.zeros_like(attention[1]))
    assert torch.isfinite(features.grad).all()


def test_shuffling_pixels_leaves_channel_attention_unchanged(randn, near):
    features = randn(6, 2, 3, 4, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    shuffled = features.flatten(2)[:, :, order].view_as(features)
    near(channel_attention(shuffled), channel_attention(features).numpy())
    near(spatial_attention(shuffled), spatial_attention(features)[:, order].numpy())
    assert not torch.allclose(spatial_attention(shuffled), spatial_attention(features))


def test_permuting_channels_leaves_spatial_attention_unchanged(randn, near):
    features = randn(7, 2, 5, 3, 4)
    order = torch.tensor([3, 0, 4, 1, 2])
    near(spatial_attention(features[:, order]), spatial_attention(features).numpy())
    near(channel_attention(features[:, order]), channel_attention(features)[:, order].numpy())
    assert not torch.allclose(channel_attention(features[:, order]), channel_attention(features))


@pytest.mark.parametrize("ours", [spatial_attention, channel_attention])
def test_the_sign_of_features_does_not_count(ours, randn):
    features = randn(8, 2, 3, 4, 4)
    for power in POWERS:
        assert torch.equal(ours(features, power=power), ours(-features, power=power))


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("ours", [spatial_attention, channel_attention])
def test_gradcheck(ours, power, randn):
    features = randn(9, 2, 2, 3, 3)
    features = (features + 0.2 * features.sign()).requires_grad_()  # away from the kink of |f| at 0
    assert torch.autograd.gradcheck(lambda f: ours(f, power=power), features)


@pytest.mark.parametrize("name", ["spatial_attention", "channel_attention"])
def test_wrong_input_is_explained(name):
    ours = {"spatial_attention": spatial_attention, "channel_attention": channel_attention}[name]
    with pytest.raises(ShapeError, match=rf"{name} expects .*\[B, C, H, W\], got \(3, 4, 5\)"):
        ours(torch.zeros(3, 4, 5))
    with pytest.raises(ValueError, match=rf"{name} needs power >= 1, got 0.5"):
        ours(torch.zeros(1, 3, 4, 5), power=0.5)


def weights_of(randn, seed: int, *shape: int) -> torch.Tensor:
    return randn(seed, *shape).softmax(-1)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("queries", [1, 7], ids=["class token", "all tokens"])
def test_attention_to_places_matches_the_oracle(queries, dtype, power, device, randn, near):
    weights = weights_of(randn, 20, 3, 4, queries, 7).to(dtype)
    got = attention_to_places(weights.to(device), power=power)
    assert got.dtype == dtype
    near(got, np.stack([oracle.attention_to_places(image, power) for image in weights.double().numpy()]), atol=0.0)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_channels_of_tokens_match_the_oracle(dtype, power, device, randn, near):
    tokens = randn(21, 3, 7, 5).to(dtype)
    got = token_channel_attention(tokens.to(device), power=power)
    assert got.dtype == dtype
    near(got, np.stack([oracle.token_channel_attention(image, power) for image in tokens.double().numpy()]), atol=0.0)


def test_low_precision_is_averaged_and_raised_in_float32(randn, near):
    weights, tokens = weights_of(randn, 22, 2, 3, 5, 5).bfloat16(), randn(23, 2, 5, 4).bfloat16()
    places, channels = attention_to_places(weights), token_channel_attention(tokens)
    assert places.dtype == channels.dtype == torch.float32
    near(places, np.stack([oracle.attention_to_places(image, 4.0) for image in weights.double().numpy()]))
    near(channels, np.stack([oracle.token_channel_attention(image, 4.0) for image in tokens.double().numpy()]))


def test_weights_of_many_places_do_not_vanish(randn):
    """(1 / 3136)^8 squared is far below what float32 can hold."""
    found = attention_to_places(weights_of(randn, 24, 2, 1, 1, 3136).float(), power=8.0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_all_heads_and_queries_count_alike(randn, near):
    weights = weights_of(randn, 25, 2, 4, 6, 6)
    near(attention_to_places(weights[:, torch.tensor([2, 0, 3, 1])]), attention_to_places(weights).numpy())
    near(attention_to_places(weights.flip(2)), attention_to_places(weights).numpy())
    near(attention_to_places(weights.flip(3)), attention_to_places(weights).flip(1).numpy())


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_gradcheck_of_the_counterparts(power, randn):
    tokens = randn(26, 2, 3, 2)
    tokens = (tokens + 0.2 * tokens.sign()).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: token_channel_attention(x, power=power), tokens)
    scores = randn(27, 2, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attention_to_places(x.softmax(-1), power=power), scores)


def test_wrong_weights_and_tokens_are_explained():
    with pytest.raises(ShapeError, match=r"attention_to_places expects .*\[B, heads, Q, T\], got \(3, 4, 4\)"):
        attention_to_places(torch.zeros(3, 4, 4))
    with pytest.raises(ShapeError, match=r"token_channel_attention expects .*\[B, T, D\], got \(1, 3, 4, 4\)"):
        token_channel_attention(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"power >= 1, got 0.5"):
        attention_to_places(torch.zeros(1, 2, 3, 3), power=0.5)

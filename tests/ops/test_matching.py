"""The objective against an oracle that adds it up term by term, in value and in gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import oracles.attention as attention_oracle
import oracles.convnet as convnet_oracle
import oracles.matching as oracle
from atom_distill.base.errors import ShapeError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.network import Network
from atom_distill.ops.attention import (
    attention_to_places,
    channel_attention,
    spatial_attention,
    token_channel_attention,
)
from atom_distill.ops.features import Features, Layer
from atom_distill.ops.matching import (
    LOSS_SCALE,
    Statistic,
    attention_mixer,
    class_means,
    class_sums,
    matching_loss,
    matching_vector,
)

LABELS_REAL = torch.tensor([2, 0, 0, 1, 2, 0, 0])  # classes of 4, 1 and 2 images, in no order
LABELS_SYN = torch.tensor([0, 1, 1, 2, 2])
SETTINGS = [
    pytest.param(oracle.Terms(), id="atom"),
    pytest.param(oracle.Terms(channel=False), id="datadam"),
    pytest.param(oracle.Terms(spatial=False, channel=False), id="dm"),
    pytest.param(oracle.Terms(spatial=False), id="channel-only"),
    pytest.param(oracle.Terms(embedding=False), id="attention-only"),
    pytest.param(oracle.Terms(spatial_power=1.0, channel_power=8.0, task_balance=0.02), id="powers-1-8"),
    pytest.param(oracle.Terms(second_moments=0.3), id="second-moments"),
    pytest.param(oracle.Terms(False, False, False, second_moments=2.0), id="second-moments-only"),
    pytest.param(oracle.Terms(spatial_power=3.0, channel_power=2.0, task_balance=1.0), id="powers-3-2"),
]


def loss_of(real: Features, labels_real: Tensor, syn: Features, labels_syn: Tensor, terms: oracle.Terms) -> Tensor:
    means = [
        class_means(matching_vector(attention_mixer(features, **vars(terms))), labels, 3)
        for features, labels in ((real, labels_real), (syn, labels_syn))
    ]
    return matching_loss(*means)


def features_of(maps: list[Tensor], embedding: Tensor) -> Features:
    return Features.of_maps(maps, embedding, lambda: pytest.fail("nothing here uses logits"))


def random_features(randn, seed: int, images: int) -> Features:
    maps = [randn(seed, images, 4, 6, 6), randn(seed + 1, images, 3, 3, 4), randn(seed + 2, images, 5, 2, 2)]
    return features_of(maps, randn(seed + 3, images, 7))


def as_batch(features: Features, labels: Tensor) -> oracle.Batch:
    return oracle.Batch([m.double().numpy() for m in features.maps], features.embedding.numpy(), labels.tolist())


def cast(features: Features, dtype: torch.dtype, device: torch.device) -> Features:
    return features_of([m.to(device, dtype) for m in features.maps], features.embedding.to(device, dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("terms", SETTINGS)
def test_loss_matches_the_sum_of_its_terms(terms, dtype, device, randn, near):
    real, syn = random_features(randn, 0, 7), random_features(randn, 10, 5)
    labels = LABELS_REAL.to(device), LABELS_SYN.to(device)
    got = loss_of(cast(real, dtype, device), labels[0], cast(syn, dtype, device), labels[1], terms)
    want = oracle.objective(as_batch(real, LABELS_REAL), as_batch(syn, LABELS_SYN), 3, terms)
    assert got.dtype == dtype
    assert want > 0.1
    near(got, np.float64(want), atol=0.0)


def seeded_network(image_shape: tuple[int, int, int], shape: NetworkShape) -> Network:
    network = build_model("convnet", image_shape, 3, shape)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():  # the norms' too: at 1 and 0 they would hide a mistake
        torch.nn.init.uniform_(parameter, -0.5, 1.0, generator=generator)
    return network


def by_hand(images: Tensor, weights: dict[str, Tensor], depth: int) -> tuple[list[Tensor], Tensor]:
    """The ConvNet of the papers, written out in functions."""
    maps = []
    for i in range(depth):
        images = F.conv2d(images, weights[f"blocks.{i}.conv.weight"], weights[f"blocks.{i}.conv.bias"], padding=1)
        mean = images.mean((2, 3), keepdim=True)
        images = (images - mean) / ((images - mean).pow(2).mean((2, 3), keepdim=True) + 1e-5).sqrt()
        scale, shift = weights[f"blocks.{i}.norm.weight"], weights[f"blocks.{i}.norm.bias"]
        images = torch.relu(images * scale.view(-1, 1, 1) + shift.view(-1, 1, 1))
        maps.append(images)
        images = F.avg_pool2d(images, 2)
    return maps, images.flatten(1)


def loss_by_hand(real: Tensor, syn: Tensor, weights: dict[str, Tensor], depth: int, terms: oracle.Terms) -> Tensor:
    """The objective again, as loops over classes and layers."""
    total = torch.zeros((), dtype=torch.float64)
    for k in range(3):
        maps_real, embedding_real = by_hand(real[k == LABELS_REAL], weights, depth)
        maps_syn, embedding_syn = by_hand(syn[k == LABELS_SYN], weights, depth)
        for layer_real, layer_syn in zip(maps_real[:-1], maps_syn[:-1], strict=True):
            for on, power, axes in (
                (terms.spatial, terms.spatial_power, (1,)),
                (terms.channel, terms.channel_power, (2, 3)),
            ):
                means = []
                for layer in (layer_real, layer_syn):
                    energy = layer.abs().pow(power).sum(axes).flatten(1)
                    means.append((energy / energy.pow(2).sum(1, keepdim=True).sqrt()).mean(0))
                total = total + on * (means[0] - means[1]).pow(2).sum()
            squares = [(layer**2).mean((0, 2, 3)) for layer in (layer_real, layer_syn)]
            total = total + terms.second_moments * (squares[0] - squares[1]).pow(2).sum()
        distance = (embedding_real.mean(0) - embedding_syn.mean(0)).pow(2).sum()
        total = total + terms.embedding * terms.task_balance * distance
        distance = ((embedding_real**2).mean(0) - (embedding_syn**2).mean(0)).pow(2).sum()
        total = total + terms.second_moments * distance
    return 100 * total


@pytest.mark.parametrize("terms", SETTINGS)
def test_gradient_through_a_convnet_matches_float64(terms, device, randn):
    network = seeded_network((3, 16, 16), NetworkShape(depth=3, width=16)).to(device)
    weights = {name: tensor.detach().double().cpu() for name, tensor in network.state_dict().items()}
    real, syn = randn(1, 7, 3, 16, 16).float(), randn(2, 5, 3, 16, 16).float()

    pixels = syn.to(device, copy=True).requires_grad_()
    with torch.no_grad():
        features_real = network.features(real.to(device))
    got = loss_of(features_real, LABELS_REAL.to(device), network.features(pixels), LABELS_SYN.to(device), terms)
    got.backward()

    exact = syn.double().requires_grad_()
    want = loss_by_hand(real.double(), exact, weights, 3, terms)
    want.backward()

    assert abs(got.item() - want.item()) <= 1e-5 * want.item()
    error = (pixels.grad.double().cpu() - exact.grad).norm() / exact.grad.norm()
    assert error <= 1e-5
    assert exact.grad.abs().amax() > 1e-3


@pytest.mark.parametrize("terms", SETTINGS[:3])
def test_gradient_matches_finite_differences_of_the_oracle(terms, randn):
    network = seeded_network((1, 4, 4), NetworkShape(depth=2, width=2)).double()
    blocks = [
        convnet_oracle.Block(*(p.detach().numpy() for p in (*block.conv.parameters(), *block.norm.parameters())))
        for block in network.blocks
    ]
    real, syn = randn(3, 7, 1, 4, 4), randn(4, 5, 1, 4, 4)

    def batch(images: np.ndarray, labels: Tensor) -> oracle.Batch:
        each = [convnet_oracle.features(image, blocks) for image in images]
        maps = [np.stack([maps[layer] for maps, _ in each]) for layer in range(2)]
        return oracle.Batch(maps, np.stack([embedding for _, embedding in each]), labels.tolist())

    fixed = batch(real.numpy(), LABELS_REAL)

    def slope(image: int, y: int, x: int, step: float = 1e-5) -> float:
        sides = []
        for sign in (1, -1):
            moved = syn.numpy().copy()
            moved[image, 0, y, x] += sign * step
            sides.append(oracle.objective(fixed, batch(moved, LABELS_SYN), 3, terms))
        return (sides[0] - sides[1]) / (2 * step)

    pixels = syn.clone().requires_grad_()
    loss = loss_of(network.features(real), LABELS_REAL, network.features(pixels), LABELS_SYN, terms)
    loss.backward()
    assert loss.item() == pytest.approx(oracle.objective(fixed, batch(syn.numpy(), LABELS_SYN), 3, terms), rel=1e-12)
    for place in [(0, 0, 0), (1, 1, 2), (2, 3, 3), (3, 2, 0), (4, 0, 3)]:
        assert pixels.grad[place[0], 0, place[1], place[2]].item() == pytest.approx(slope(*place), rel=1e-5, abs=1e-7)


def test_dm_has_only_the_embedding(randn):
    features = random_features(randn, 0, 2)
    (only,) = attention_mixer(features, spatial=False, channel=False, task_balance=0.01)
    assert only.values is features.embedding
    assert only.weight == 0.01
    assert LOSS_SCALE * only.weight == 1.0  # the weight that DM gives it


def test_datadam_has_spatial_attention_and_the_embedding(randn):
    features = random_features(randn, 0, 2)
    first, second, embedding = attention_mixer(features, channel=False, spatial_power=2.0)
    assert torch.equal(first.values, spatial_attention(features.maps[0], power=2.0))
    assert torch.equal(second.values, spatial_attention(features.maps[1], power=2.0))
    assert first.weight == second.weight == 1.0
    assert embedding.values is features.embedding


def test_atom_mixes_both_attentions_of_every_layer_but_the_last(randn):
    features = random_features(randn, 0, 2)
    statistics = attention_mixer(features, spatial_power=1.0, channel_power=8.0)
    assert len(statistics) == 2 * 2 + 1
    assert torch.equal(statistics[2].values, spatial_attention(features.maps[1], power=1.0))
    assert torch.equal(statistics[3].values, channel_attention(features.maps[1], power=8.0))


def transformer(randn, images: int, seed: int = 40) -> Features:
    """Three blocks of two heads, the first without a class token; what the last attends to is never asked for."""
    maps = [randn(seed + block, images, 4, 2, 3) for block in range(3)]
    attention = [randn(seed + 3, images, 2, 6, 6).softmax(-1), lambda: randn(seed + 4, images, 2, 1, 6).softmax(-1)]
    unused = lambda: pytest.fail("the last block's attention is not matched")  # noqa: E731
    return Features.of_transformer(
        maps, [*attention, unused], randn(seed + 5, images, 4), lambda: pytest.fail("unused")
    )


@pytest.mark.parametrize("powers", [(4.0, 4.0), (1.0, 8.0), (3.0, 2.0)])
def test_in_a_transformer_atom_matches_attention_and_channels_of_tokens(powers, randn, near):
    features = transformer(randn, 3)
    statistics = attention_mixer(features, spatial_power=powers[0], channel_power=powers[1], second_moments=0.5)
    names = ["spatial 1", "channel 1", "squares 1", "spatial 2", "channel 2", "squares 2"]
    assert [statistic.name for statistic in statistics] == [*names, "embedding", "embedding squares"]
    for block in range(2):
        spatial, channel, squares = (statistic.values for statistic in statistics[3 * block : 3 * block + 3])
        weights, maps = features.layers_of("attention")[block].values.numpy(), features.maps[block].numpy()
        tokens = np.einsum("bchw->bhwc", maps).reshape(3, 6, 4)
        energy = (np.einsum("bhqt->bht", weights) / weights.shape[2]) ** powers[0]
        near(spatial, energy.sum(1) / np.sqrt((energy.sum(1) ** 2).sum(1, keepdims=True)))
        near(channel, np.stack([attention_oracle.token_channel_attention(each, powers[1]) for each in tokens]))
        near(squares, np.einsum("btc,btc->bc", tokens, tokens) / 6)


def test_dm_and_channels_alone_ask_a_transformer_for_no_attention(randn):
    embedding = randn(0, 2, 4)
    unused = lambda: pytest.fail("no attention is matched")  # noqa: E731
    features = Features.of_transformer([randn(1, 2, 4, 2, 2)] * 2, [unused] * 2, embedding, unused)
    assert [statistic.name for statistic in attention_mixer(features, spatial=False)] == ["channel 1", "embedding"]


def test_tokens_and_attention_without_maps_are_matched_too(randn):
    """As an architecture of the user's may show them."""
    tokens, weights = randn(0, 2, 5, 4), randn(1, 2, 3, 5, 5).softmax(-1)
    layers = [Layer("attention 1", "attention", weights), Layer("tokens 1", "tokens", tokens)] * 2
    spatial, channel, _ = attention_mixer(Features(layers, randn(3, 2, 4), lambda: pytest.fail("unused")))
    assert torch.equal(spatial.values, attention_to_places(weights))
    assert torch.equal(channel.values, token_channel_attention(tokens))


@pytest.mark.parametrize("terms", SETTINGS)
def test_synthetic_equal_to_real_gives_loss_zero(terms, randn):
    real = random_features(randn, 0, 7)
    assert loss_of(real, LABELS_REAL, real, LABELS_REAL, terms).item() == 0.0


@pytest.mark.parametrize("terms", SETTINGS[:3])
def test_all_classes_at_once_equal_a_loop_over_classes(terms, randn):
    real, syn = random_features(randn, 0, 7), random_features(randn, 10, 5)

    def of_class(features: Features, labels: Tensor, k: int) -> tuple[Features, Tensor]:
        rows = labels == k
        return features_of([m[rows] for m in features.maps], features.embedding[rows]), labels[rows]

    looped = sum(
        loss_of(*of_class(real, LABELS_REAL, k), *of_class(syn, LABELS_SYN, k), terms)  # the other classes are empty
        for k in range(3)
    )
    torch.testing.assert_close(loss_of(real, LABELS_REAL, syn, LABELS_SYN, terms), looped)


def test_a_class_pulls_on_its_own_images_only(randn):
    real, syn = random_features(randn, 0, 7), random_features(randn, 10, 5)
    moved = features_of(real.maps, real.embedding + 5.0 * (LABELS_REAL == 1).unsqueeze(1))
    gradients = []
    for target in (real, moved):
        embedding = syn.embedding.clone().requires_grad_()
        loss_of(target, LABELS_REAL, features_of(syn.maps, embedding), LABELS_SYN, oracle.Terms()).backward()
        gradients.append(embedding.grad)
    assert torch.equal(gradients[0][LABELS_SYN != 1], gradients[1][LABELS_SYN != 1])
    assert not torch.allclose(gradients[0][LABELS_SYN == 1], gradients[1][LABELS_SYN == 1])


def test_class_means_of_a_known_case():
    rows = torch.tensor([[1.0, 0.0], [4.0, 2.0], [3.0, 6.0], [5.0, 5.0]])
    labels = torch.tensor([1, 0, 1, 3])
    assert class_sums(rows, labels, 4).tolist() == [[4, 2], [4, 6], [0, 0], [5, 5]]
    assert class_means(rows, labels, 4).tolist() == [[4, 2], [2, 3], [0, 0], [5, 5]]  # class 2 has no images


def test_signature_turns_weights_into_squared_distances(randn):
    left = [Statistic(randn(0, 2, 3, 4), 1.0), Statistic(randn(1, 2, 5), 0.25), Statistic(randn(2, 2, 1), 7.0)]
    flat = matching_vector(left)
    assert flat.shape == (2, 12 + 5 + 1)
    want = sum(weight * (values[0] - values[1]).square().sum() for values, weight, _ in left)
    torch.testing.assert_close((flat[0] - flat[1]).square().sum(), want)


def test_signature_is_float32_at_least(randn):
    half, whole = Statistic(randn(0, 2, 3).bfloat16()), Statistic(randn(1, 2, 4).float())
    assert matching_vector([half]).dtype == torch.float32
    assert matching_vector([half, whole]).dtype == torch.float32
    assert matching_vector([Statistic(randn(0, 2, 3))]).dtype == torch.float64


def test_the_real_side_may_be_anything_without_gradient(randn):
    means = randn(0, 3, 4), randn(1, 3, 4).requires_grad_()
    matching_loss(*means).backward()
    torch.testing.assert_close(means[1].grad, 2 * 100 * (means[1].detach() - means[0]))


def test_wrong_input_is_explained():
    with pytest.raises(ValueError, match="nothing is left to match: switch on at least one"):
        matching_vector([])
    with pytest.raises(ValueError, match=r"weights must be >= 0, got \[1.0, -0.5\]"):
        matching_vector([Statistic(torch.zeros(1, 2)), Statistic(torch.zeros(1, 2), -0.5)])
    with pytest.raises(ShapeError, match=r"real \(3, 4\) and synthetic \(2, 4\)"):
        matching_loss(torch.zeros(3, 4), torch.zeros(2, 4))

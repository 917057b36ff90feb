"""AlexNet, VGG-11, ResNet-18 and ViT: parameter counts by hand, features, and refused inputs."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

import oracles.attention as attention_oracle
from atom_distill.base.errors import ConfigError
from atom_distill.base.network_shape import NORMS, NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.layers import Block
from atom_distill.models.registry import MODELS

ARCHITECTURES = ["alexnet", "vgg11", "resnet18", "vit"]
SMALL = {
    "alexnet": NetworkShape(),
    "vgg11": NetworkShape(width=4),
    "resnet18": NetworkShape(width=4),
    "vit": NetworkShape(width=64, depth=2),
}


def count(name: str, image_shape: tuple[int, int, int], classes: int, shape: NetworkShape | None = None) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(name, image_shape, classes, shape).parameters())


def test_all_are_registered():
    build_model("convnet", (1, 8, 8), 2, NetworkShape(width=2))
    assert set(ARCHITECTURES) < set(MODELS)


@pytest.mark.parametrize(("image_shape", "side"), [((3, 32, 32), 4), ((3, 64, 64), 8), ((1, 28, 28), 4)])
def test_alexnet_parameters_by_hand(image_shape, side):
    convolutions = [(image_shape[0], 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)]
    body = sum(inside * outside * kernel**2 + outside for inside, outside, kernel in convolutions)
    assert count("alexnet", image_shape, 10) == body + 192 * side * side * 10 + 10
    with_norm = count("alexnet", image_shape, 10, NetworkShape(norm="batch"))
    assert with_norm == body + 192 * side * side * 10 + 10 + 2 * (128 + 192 + 256 + 192 + 192)


@pytest.mark.parametrize(("image_shape", "side"), [((3, 32, 32), 1), ((3, 96, 96), 3), ((1, 28, 28), 1)])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_vgg11_parameters_by_hand(image_shape, side, norm):
    filters = [image_shape[0], 64, 128, 256, 256, 512, 512, 512, 512]
    body = sum(9 * a * b + b + 2 * b for a, b in itertools.pairwise(filters))
    found = count("vgg11", image_shape, 10, NetworkShape(norm=norm))
    assert found == body + 512 * side * side * 10 + 10
    if image_shape == (3, 32, 32):
        assert found == 9_231_114  # as published for CIFAR-10, e.g. NeuralFuse (NeurIPS 2024), table 7


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_resnet18_parameters_by_hand(side, norm):
    def convolution(inside: int, outside: int, kernel: int) -> int:
        return inside * outside * kernel**2 + 2 * outside  # no bias, but the norm's two

    def stage(inside: int, outside: int, *, shortcut: bool) -> int:
        blocks = convolution(inside, outside, 3) + 3 * convolution(outside, outside, 3)
        return blocks + (convolution(inside, outside, 1) if shortcut else 0)

    body = convolution(3, 64, 3) + stage(64, 64, shortcut=False)
    body += stage(64, 128, shortcut=True) + stage(128, 256, shortcut=True) + stage(256, 512, shortcut=True)
    found = count("resnet18", (3, side, side), 10, NetworkShape(norm=norm))
    assert found == body + 512 * 10 + 10 == 11_173_962  # as published, ibid.


@pytest.mark.parametrize(("side", "patch"), [(32, 4), (64, 8), (96, 12), (8, 1)])
def test_vit_parameters_by_hand(side, patch):
    def body(dim: int, depth: int) -> int:
        attention, mlp, norms = 4 * dim * dim + 4 * dim, 8 * dim * dim + 5 * dim, 4 * dim
        return 3 * patch**2 * dim + dim + 64 * dim + depth * (attention + mlp + norms) + 2 * dim

    assert count("vit", (3, side, side), 10) == body(192, 6) + 192 * 10 + 10
    assert count("vit", (3, side, side), 10, NetworkShape(width=128, depth=2)) == body(128, 2) + 128 * 10 + 10


def shapes(name: str, image_shape: tuple[int, int, int]) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    features = build_model(name, image_shape, 5, SMALL[name]).features(torch.zeros(2, *image_shape))
    return [tuple(each.shape) for each in features.maps], tuple(features.embedding.shape)


@pytest.mark.parametrize("side", [32, 64])
def test_shapes_of_features(side):
    filters, places = (128, 192, 256, 192, 192), (side, side // 2, side // 4, side // 4, side // 4)
    maps = [(2, channels, place, place) for channels, place in zip(filters, places, strict=True)]
    assert shapes("alexnet", (3, side, side)) == (maps, (2, 192 * (side // 8) ** 2))
    filters, halved = (4, 8, 16, 16, 32, 32, 32, 32), (1, 2, 4, 4, 8, 8, 16, 16)
    maps = [(2, channels, side // by, side // by) for channels, by in zip(filters, halved, strict=True)]
    assert shapes("vgg11", (3, side, side)) == (maps, (2, 32 * (side // 32) ** 2))
    maps = [(2, 4 * by, side // by, side // by) for by in (1, 2, 4, 8)]
    assert shapes("resnet18", (3, side, side)) == (maps, (2, 32))
    assert shapes("vit", (3, side, side)) == ([(2, 64, 8, 8)] * 2, (2, 64))


@pytest.mark.parametrize(("name", "first"), [("alexnet", 32), ("vgg11", 32), ("resnet18", 28)])
def test_gray_28x28_is_padded_where_the_dc_code_does(name, first):
    maps, _ = shapes(name, (1, 28, 28))
    assert maps[0][2:] == (first, first)


def test_images_need_not_be_square():
    assert shapes("resnet18", (3, 20, 34))[0][-1] == (2, 32, 3, 5)
    assert shapes("alexnet", (3, 16, 9))[1] == (2, 192 * 2 * 1)
    assert shapes("vgg11", (3, 64, 32))[1] == (2, 32 * 2)
    assert shapes("vit", (3, 16, 24))[0][-1] == (2, 64, 8, 8)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_the_images_through_all_features(name):
    torch.manual_seed(0)
    network = build_model(name, (3, 32, 32), 5, SMALL[name])
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    features = network.features(images)
    maps, embedding = features.maps, features.embedding
    for shown in (*maps, embedding, network(images)):
        (gradient,) = torch.autograd.grad(shown.square().sum(), images, retain_graph=True)
        assert torch.isfinite(gradient).all()
        assert (gradient.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_logits_are_the_classifier_of_the_embedding(name, training):
    network = build_model(name, (3, 32, 32), 5, SMALL[name]).train(training)
    images = torch.randn(2, 3, 32, 32)
    logits = network(images)
    assert logits.shape == (2, 5)
    weight, bias = network.classifier.parameters()
    features = network.features(images)
    torch.testing.assert_close(logits, features.embedding @ weight.T + bias)
    torch.testing.assert_close(features.logits, logits)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
@torch.no_grad()
def test_maps_are_after_the_activation(name):
    network = build_model(name, (3, 32, 32), 5, SMALL[name])
    assert all(each.min() == 0 and each.max() > 0 for each in network.features(torch.randn(2, 3, 32, 32)).maps)


@torch.no_grad()
def test_an_alexnet_by_hand():
    network = build_model("alexnet", (3, 16, 16), 4)
    assert not any(isinstance(module, nn.GroupNorm | nn.BatchNorm2d) for module in network.modules())
    images = torch.randn(2, 3, 16, 16)
    out, want = images, []
    for index, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        padding = block.conv.weight.shape[-1] // 2
        want.append(nn.functional.conv2d(out, block.conv.weight, block.conv.bias, padding=padding).relu())
        out = nn.functional.max_pool2d(want[-1], 2) if index in (0, 1, 4) else want[-1]
    features = network.features(images)
    maps, embedding = features.maps, features.embedding
    torch.testing.assert_close(maps, want)
    torch.testing.assert_close(embedding, out.flatten(1))


@torch.no_grad()
def test_a_residual_block_by_hand():
    network = build_model("resnet18", (3, 32, 32), 4, NetworkShape(width=4, norm="batch")).eval()
    f = nn.functional

    def norm(maps, layer):
        scale, shift = layer.weight[:, None, None], layer.bias[:, None, None]
        mean, var = layer.running_mean[:, None, None], layer.running_var[:, None, None]
        return (maps - mean) / (var + layer.eps).sqrt() * scale + shift

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 2)
            module.bias.uniform_(-1, 1)
    maps = network.features(torch.randn(2, 3, 32, 32)).maps
    out = maps[0]
    for block, stride in zip(network.stages[1], (2, 1), strict=True):
        inner = norm(f.conv2d(out, block.conv1.weight, stride=stride, padding=1), block.norm1).relu()
        inner = norm(f.conv2d(inner, block.conv2.weight, padding=1), block.norm2)
        beside = out
        if stride == 2:
            beside = norm(f.conv2d(out, block.shortcut[0].weight, stride=2), block.shortcut[1])
        out = (inner + beside).relu()
    torch.testing.assert_close(maps[1], out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_a_transformer_block_by_hand(training):
    network = build_model("vit", (3, 16, 16), 4, NetworkShape(width=128, depth=1)).double().train(training)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    patches = images.unflatten(3, (8, 2)).unflatten(2, (8, 2)).permute(0, 2, 4, 1, 3, 5).reshape(2, 64, 12)
    tokens = patches @ network.patches.weight.flatten(1).T + network.patches.bias + network.positions.weight
    block = network.blocks[0]

    def normal(tokens, layer):
        centered = tokens - tokens.mean(-1, keepdim=True)
        return centered / (centered.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias

    attention = block.self_attn
    projected = normal(tokens, block.norm1) @ attention.in_proj_weight.T + attention.in_proj_bias
    query, key, value = projected.unflatten(2, (3, 2, 64)).permute(2, 0, 3, 1, 4)
    heads = ((query @ key.mT / 8).softmax(-1) @ value).transpose(1, 2).flatten(2)
    tokens = tokens + heads @ attention.out_proj.weight.T + attention.out_proj.bias
    inner = normal(tokens, block.norm2) @ block.linear1.weight.T + block.linear1.bias
    inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    tokens = tokens + inner @ block.linear2.weight.T + block.linear2.bias

    features = network.features(images)
    maps, embedding = features.maps, features.embedding
    torch.testing.assert_close(maps[0][:, :, 2, 5], tokens[:, 2 * 8 + 5])
    torch.testing.assert_close(features.of_kind("tokens")[0], tokens)
    torch.testing.assert_close(embedding, normal(tokens, network.norm).mean(1))


@torch.no_grad()
def test_the_attention_of_a_transformer_is_that_of_its_blocks():
    """Against a twin in float64 loops, and against the attention layer itself, asked for its weights."""
    network = build_model("vit", (3, 8, 8), 4, NetworkShape(width=128, depth=2)).double().train()
    for parameter in network.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    features = network.features(torch.randn(2, 3, 8, 8, dtype=torch.float64))
    first, second = features.of_kind("attention")
    assert first.shape == second.shape == (2, 2, 64, 64)
    block, tokens = network.blocks[1], features.of_kind("tokens")[0]
    inputs = block.norm1(tokens)
    _, theirs = block.self_attn(inputs, inputs, inputs, need_weights=True, average_attn_weights=False)
    torch.testing.assert_close(second, theirs)
    # A bias is that of one more input, which is 1.
    extended = torch.cat([inputs[0], torch.ones(64, 1, dtype=torch.float64)], 1).numpy()
    query, key, _ = torch.cat([block.self_attn.in_proj_weight, block.self_attn.in_proj_bias[:, None]], 1).split(128)
    by_hand = attention_oracle.attention_weights(extended, query.numpy(), key.numpy(), heads=2)
    torch.testing.assert_close(second[0], torch.from_numpy(by_hand))
    assert second.std(3).max() > 0.01


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_builds_and_leaves_the_images_visible(name, norm):
    torch.manual_seed(0)
    network = build_model(name, (3, 32, 32), 5, NetworkShape(norm=norm, width=SMALL[name].width))
    kind = {"batch": nn.BatchNorm2d, "layer": nn.LayerNorm, "instance": nn.GroupNorm, "group": nn.GroupNorm}.get(norm)
    norms = [m for m in network.modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d)]
    assert {type(module) for module in norms} == ({kind} if kind else set())
    maps = network.features(torch.randn(3, 3, 32, 32)).maps
    assert all(each.std(0).max() > 0 for each in maps)


@pytest.mark.parametrize(
    ("name", "image_shape", "told"),
    [
        ("alexnet", (3, 7, 32), "alexnet .*8x8, got 7x32.*convnet"),
        ("alexnet", (1, 3, 3), "at least 4x4"),
        ("vgg11", (1, 8, 8), "vgg11 .*28x28, got 8x8"),
        ("vgg11", (3, 28, 28), "at least 32x32"),
        ("resnet18", (1, 8, 8), "resnet18 .*9x9, got 8x8"),
        ("vit", (1, 28, 28), "vit .*multiples of 8, got 28x28"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, image_shape, told):
    with pytest.raises(ConfigError) as caught:
        build_model(name, image_shape, 10)
    assert re.search(told, str(caught.value))


@pytest.mark.parametrize(("name", "side"), [("alexnet", 8), ("vgg11", 32), ("resnet18", 9), ("vit", 8)])
def test_the_smallest_images_still_affect_the_logits(name, side):
    torch.manual_seed(0)
    shape = SMALL[name] if name == "vit" else NetworkShape(width=SMALL[name].width, norm="instance")
    logits = build_model(name, (3, side, side), 5, shape)(torch.randn(2, 3, side, side))
    assert not torch.allclose(logits[0], logits[1], atol=1e-4)


SETTINGS = {"depth": 2, "width": 64, "norm": "batch", "activation": "sigmoid", "pooling": "max"}


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("alexnet", ["norm", "activation"]),
        ("vgg11", ["width", "norm", "activation"]),
        ("resnet18", ["width", "norm", "activation"]),
        ("vit", ["depth", "width"]),
    ],
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_has_an_effect_or_is_refused(name, has, setting):
    shape = NetworkShape(**{setting: SETTINGS[setting]})
    if setting not in has:
        with pytest.raises(ConfigError, match=rf"{name} does not support {setting}.* it supports {' and '.join(has)}$"):
            build_model(name, (3, 32, 32), 10, shape)
        return
    default = {"vgg11": {"width": 64}, "resnet18": {"width": 64}}.get(name, {})
    changed = repr(build_model(name, (3, 32, 32), 10, shape)) != repr(build_model(name, (3, 32, 32), 10))
    assert changed != (default.get(setting) == SETTINGS[setting])


DEFAULTS = {
    "convnet": NetworkShape(depth=3, width=128, norm="instance", activation="relu", pooling="avg"),
    "alexnet": NetworkShape(norm="none", activation="relu"),
    "vgg11": NetworkShape(width=64, norm="instance", activation="relu"),
    "resnet18": NetworkShape(width=64, norm="instance", activation="relu"),
    "vit": NetworkShape(depth=6, width=192),
}
SOME = {
    "convnet": NetworkShape(depth=2, width=8, norm="group", activation="sigmoid", pooling="max"),
    "alexnet": NetworkShape(norm="batch", activation="leaky_relu"),
    "vgg11": NetworkShape(width=4, norm="layer", activation="sigmoid"),
    "resnet18": NetworkShape(width=4, norm="none", activation="leaky_relu"),
    "vit": NetworkShape(depth=1, width=64),
}


def parameter_shapes(name: str, shape: NetworkShape) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: value.shape for key, value in build_model(name, (3, 32, 32), 10, shape).state_dict().items()}


@pytest.mark.parametrize("name", [*MODELS])
def test_a_network_knows_its_final_shape(name):
    with torch.device("meta"):
        network = build_model(name, (3, 32, 32), 10)
        assert network.shape == DEFAULTS[name]
        assert build_model(name, (3, 32, 32), 10, SOME[name]).shape == SOME[name]
    assert parameter_shapes(name, network.shape) == parameter_shapes(name, NetworkShape())
    assert parameter_shapes(name, SOME[name]) != parameter_shapes(name, NetworkShape())
    for setting, value in asdict(SOME[name]).items():  # one setting given, the rest filled in
        if value is not None:
            with torch.device("meta"):
                one = build_model(name, (3, 32, 32), 10, NetworkShape(**{setting: value}))
            assert one.shape == replace(DEFAULTS[name], **{setting: value})


@pytest.mark.parametrize(("resolution", "depth"), [(8, 3), (64, 4), (4, 2)])
def test_the_final_depth_of_a_convnet_is_that_of_its_resolution(resolution, depth):
    assert build_model("convnet", (3, resolution, resolution), 10).shape.depth == depth


def test_the_width_of_a_vit_is_a_multiple_of_the_head():
    with pytest.raises(ConfigError, match=r"vit .*width .*64, got 100"):
        build_model("vit", (3, 32, 32), 10, NetworkShape(width=100))


@pytest.mark.parametrize(("image_shape", "classes"), [((3, 32), 10), ((3, 32, 32), 0)])
def test_what_is_no_shape_or_has_no_class_is_refused(image_shape, classes):
    with pytest.raises(ConfigError, match=r"needs the shape of an image, .*, and 1 class or more"):
        build_model("convnet", image_shape, classes)

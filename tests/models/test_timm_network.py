"""timm models, with a stand-in for timm, which needs torchvision and may not be installed."""

from __future__ import annotations

import copy
import fnmatch
import functools
import sys
import types
from importlib.machinery import ModuleSpec

import pytest
import torch
from torch import nn

from atom_distill.base.errors import ConfigError, MissingExtraError, UnknownNameError
from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.batch_norm import mixes_images
from atom_distill.models.build import build_model
from atom_distill.models.initialization import reinitialize


class Opaque(nn.Module):
    """The common interface of timm models, with a parameter that belongs to no known layer."""

    def __init__(self, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.empty(4, 1, 1).normal_(std=0.01))
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.fc((self.norm(self.stem(images)) * self.scale).relu().mean((2, 3)))


class Shown(Opaque):
    def forward_intermediates(self, images, output_fmt):
        assert output_fmt == "NCHW"
        first = self.norm(self.stem(images))
        last = (first * self.scale).relu()
        return last, [first, last]

    def forward_head(self, last, pre_logits=False):
        pooled = last.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)


class Attention(nn.Module):
    """The interface of timm's attention layers: weights pass through `attn_drop`, unless they are fused away."""

    def __init__(self) -> None:
        super().__init__()
        self.fused_attn = True
        self.attn_drop = nn.Identity()

    def forward(self, tokens):
        heads = tokens.unflatten(2, (2, 3)).transpose(1, 2)
        weights = (heads @ heads.mT).softmax(-1)
        if not self.fused_attn:
            weights = self.attn_drop(weights)
        return (weights @ heads).transpose(1, 2).flatten(2)


class Transformer(nn.Module):
    """Two blocks; tokens of no place, of which the first may be a class token, come before the others."""

    def __init__(self, num_classes: int, in_chans: int, *, class_token: bool = True, others: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 6, 4, stride=4)
        self.num_prefix_tokens = others
        self.others = nn.Parameter(torch.randn(1, others, 6))
        self.cls_token = self.others if class_token else None
        self.blocks = nn.ModuleList(nn.Module() for _ in range(2))
        for block in self.blocks:
            block.attn = Attention()
        self.fc = nn.Linear(6, num_classes)

    def forward_intermediates(self, images, output_fmt):
        assert output_fmt == "NCHW"
        stem, maps = self.stem(images), []
        tokens = torch.cat([self.others.expand(len(images), -1, -1), stem.flatten(2).mT], 1)
        for block in self.blocks:
            tokens = tokens + block.attn(tokens)
            maps.append(tokens[:, self.num_prefix_tokens :].mT.unflatten(2, stem.shape[2:]))
        return tokens, maps

    def forward_head(self, last, pre_logits=False):
        return last[:, 0] if pre_logits else self.fc(last[:, 0])

    def forward(self, images):
        return self.forward_head(self.forward_intermediates(images, "NCHW")[0])


class OfChannels(Transformer):
    """Whose blocks attend to channels, not to places."""

    def forward_intermediates(self, images, output_fmt):
        last, maps = super().forward_intermediates(images, output_fmt)
        for block in self.blocks:
            block.attn.attn_drop(torch.zeros(len(images), 2, 3, 3))
        return last, maps


class Fixed(Shown):
    def __init__(self, img_size: tuple[int, int], **rest: int) -> None:
        super().__init__(**rest)
        self.img_size = img_size


MODELS = {
    **{"shown18": Shown, "opaque11": Opaque, "fixed_224": Fixed, "vit_a": Transformer, "xcit": OfChannels},
    "vit_b": functools.partial(Transformer, class_token=False, others=1),
}

TAGGED = ("shown18.a1_in1k", "shown18.a2_in1k", "shown18.fb_swsl_ig1b_ft_in1k")


def list_models(filter: str = "", include_tags: bool = False) -> list[str]:
    return fnmatch.filter(TAGGED if include_tags else MODELS, filter or "*")


def get_pretrained_cfg(name: str) -> types.SimpleNamespace:
    if name not in (*MODELS, *TAGGED):
        raise RuntimeError(f"Invalid pretrained tag for {name}.")  # as timm does
    return types.SimpleNamespace(fixed_input_size=name == "fixed_224")


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = types.ModuleType("timm")
    timm.__spec__ = ModuleSpec("timm", None)
    timm.list_models = list_models
    timm.is_model = lambda name: name.partition(".")[0] in MODELS
    timm.get_pretrained_cfg = get_pretrained_cfg
    timm.create_model = lambda name, *, pretrained, **settings: MODELS[name.partition(".")[0]](**settings)
    monkeypatch.setitem(sys.modules, "timm", timm)


def test_a_model_by_name():
    network = build_model("timm:shown18", (1, 9, 7), 5)
    assert network.training
    assert network.shape == NetworkShape()
    images = torch.randn(3, 1, 9, 7, requires_grad=True)
    logits, features = network(images), network.features(images)
    maps, embedding = features.maps, features.embedding
    assert logits.shape == (3, 5)
    assert [tuple(each.shape) for each in maps] == [(3, 4, 7, 5)] * 2
    torch.testing.assert_close(logits, network.model.fc(embedding))
    torch.testing.assert_close(features.logits, logits)
    for shown in (*maps, embedding, logits):
        (gradient,) = torch.autograd.grad(shown.square().sum(), images, retain_graph=True)
        assert gradient.abs().max() > 0
    assert mixes_images(network)
    assert not mixes_images(build_model("convnet", (1, 8, 8), 2))


def test_a_model_of_fixed_size_gets_the_image_size():
    assert build_model("timm:fixed_224", (3, 24, 16), 5).model.img_size == (24, 16)


def test_weights_are_timms_own_and_follow_the_generator():
    first, second = (build_model("timm:shown18", (3, 8, 8), 5) for _ in range(2))
    pointers = [tensor.data_ptr() for tensor in first.state_dict().values()]
    first(torch.randn(4, 3, 8, 8))
    before = torch.get_rng_state()
    reinitialize(first, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert [tensor.data_ptr() for tensor in first.state_dict().values()] == pointers
    assert first.model.norm.num_batches_tracked == 0
    assert 0 < first.model.scale.abs().max() < 0.1  # initialized by the model itself
    twin = copy.deepcopy(second)
    for network in (second, twin):
        reinitialize(network, torch.Generator().manual_seed(1))
        for key, tensor in first.state_dict().items():
            assert torch.equal(tensor, network.state_dict()[key]), key
    reinitialize(second, torch.Generator().manual_seed(2))
    for key in ("model.stem.weight", "model.scale", "model.fc.bias"):
        assert not torch.equal(first.state_dict()[key], second.state_dict()[key]), key


def test_a_model_without_features_returns_logits_only():
    network = build_model("timm:opaque11", (3, 8, 8), 5)
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 5)
    with pytest.raises(ConfigError, match="timm:opaque11 cannot be the matching network: timm does not offer"):
        network.features(torch.zeros(2, 3, 8, 8))


def weights_by_hand(tokens: torch.Tensor) -> torch.Tensor:
    """Softmax of the scalar products of each head's half of the channels."""
    halves = torch.stack(tokens.split(3, 2), 1)
    return (torch.einsum("bhtc,bhsc->bhts", halves, halves)).softmax(-1)


@pytest.mark.parametrize(("name", "others"), [("vit_a", 2), ("vit_b", 1)])
@torch.no_grad()
def test_a_transformer_shows_what_its_class_token_or_else_all_tokens_attend_to(name, others):
    network = build_model(f"timm:{name}", (3, 8, 12), 5)
    images = torch.randn(2, 3, 8, 12)
    features = network.features(images)
    inputs = torch.cat([network.model.others.expand(2, -1, -1), network.model.stem(images).flatten(2).mT], 1)
    weights = weights_by_hand(inputs)[..., others:]
    torch.testing.assert_close(
        features.of_kind("attention")[0], weights[:, :, :1] if others == 2 else weights[:, :, 1:]
    )
    assert torch.equal(features.maps[0].flatten(2).mT, features.of_kind("tokens")[0])
    assert features.of_kind("tokens")[0].shape == (2, 6, 6)
    assert all(block.attn.fused_attn for block in network.model.blocks)  # for training, as timm chose
    assert not any(block.attn.attn_drop._forward_hooks for block in network.model.blocks)
    torch.testing.assert_close(features.logits, network(images))


def test_attention_that_is_not_between_places_is_left_out():
    features = build_model("timm:xcit", (3, 8, 8), 5).features(torch.randn(2, 3, 8, 8))
    assert [layer.kind for layer in features.layers] == ["map", "map"]


@pytest.mark.parametrize(
    ("name", "image_shape", "shape", "kind", "told"),
    [
        ("timm:shown81", (3, 8, 8), None, UnknownNameError, "timm has no model 'shown81'. Did you mean 'timm:shown18'"),
        ("timm:zzz", (3, 8, 8), None, UnknownNameError, "timm has no model 'zzz'. timm.list_models() lists"),
        ("timm:shown18", (3, 2, 2), None, ConfigError, "timm:shown18 does not work with 3x2x2 images (RuntimeError: "),
        (
            "timm:shown18",
            (3, 8, 8),
            NetworkShape(norm="batch"),
            ConfigError,
            "timm:shown18 does not support norm",
        ),
    ],
)
def test_refusals(name, image_shape, shape, kind, told):
    with pytest.raises(kind) as caught:
        build_model(name, image_shape, 5, shape)
    assert told in str(caught.value)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "timm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"the architecture timm:resnet10t needs .*atom-distill\[timm\]"):
        build_model("timm:resnet10t", (3, 32, 32), 10)


def test_an_unknown_tag_is_one_line_with_the_nearest_names():
    assert build_model("timm:shown18.a1_in1k", (3, 8, 8), 5).model.fc.out_features == 5
    with pytest.raises(UnknownNameError, match=r"no tag 'a3_in1k' of shown18\. Did you mean 'timm:shown18\.a\d_in1k'"):
        build_model("timm:shown18.a3_in1k", (3, 8, 8), 5)
    with pytest.raises(UnknownNameError, match=r"no model 'shown19\.a1_in1k'\. Did you mean 'timm:shown18'"):
        build_model("timm:shown19.a1_in1k", (3, 8, 8), 5)

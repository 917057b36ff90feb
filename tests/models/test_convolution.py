"""The gradient of a convolution on its input, against autograd."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from atom_distill.base.network_shape import NetworkShape
from atom_distill.distillation import classifier, encoder
from atom_distill.distillation.matching_execution import MatchingExecution
from atom_distill.models.build import build_model
from atom_distill.models.convolution import Conv2d, input_gradient
from atom_distill.ops.matching import Objective, attention_mixer


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize(("side", "padding"), [(1, 0), (3, 0), (3, 1), (3, 2), (5, 2), (5, 4)])
def test_the_gradient_is_that_of_autograd(channels, side, padding):
    maps = 40  # more than 3 * 3 * 3, fewer than 8 * 3 * 3: both ways to compute it
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, channels, 9, 7, dtype=torch.float64, generator=random).requires_grad_()
    weight = torch.randn(maps, channels, side, side, dtype=torch.float64, generator=random)
    out = F.conv2d(images, weight, padding=padding)
    gradient = torch.randn(out.shape, dtype=torch.float64, generator=random)
    out.backward(gradient)
    torch.testing.assert_close(input_gradient(gradient, weight, padding), images.grad)


def test_the_parts_of_a_product_are_added_in_float32():
    gradient, weight = torch.ones(1, 32, 4, 4, dtype=torch.bfloat16), torch.ones(32, 3, 3, 3, dtype=torch.bfloat16)
    assert input_gradient(gradient, weight, 1).dtype == torch.float32


def test_matching_and_classifying_networks_compute_input_gradients_in_bfloat16(monkeypatch):
    found = []
    monkeypatch.setattr(encoder, "compute_input_gradients_in", lambda dtype, _: found.append(("encoder", dtype)))
    monkeypatch.setattr(classifier, "compute_input_gradients_in", lambda dtype, _: found.append(("classifier", dtype)))
    network = build_model("convnet", (3, 8, 8), 2, NetworkShape(depth=1, width=4))
    pool = SimpleNamespace(new_network=lambda: network)
    for real in (torch.float32, torch.bfloat16):
        execution = MatchingExecution(torch.device("cpu"), real, compiled=False, chunk=1)
        encoder.Encoder(network, Objective(attention_mixer), None, execution)
        classifier.Classifier(pool, 0, 1.0, execution)
    assert found == [("encoder", torch.bfloat16), ("classifier", torch.bfloat16)]


@pytest.mark.slow
def test_compiled_code_knows_other_paddings_and_a_bias_that_is_trained():
    torch.manual_seed(0)
    network = torch.nn.Sequential(Conv2d(3, 80, 5, padding=2), torch.nn.ReLU(), Conv2d(80, 4, 3, padding=0))
    network.requires_grad_(False)
    images = torch.randn(2, 3, 9, 9)
    eager, compiled = (image_gradient(network, images, compiled=way) for way in (False, True))
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-3)
    network[0].bias.requires_grad_(True)
    found = []
    for way in (False, True):
        network.zero_grad()
        image_gradient(network, images, compiled=way)
        found.append(network[0].bias.grad.clone())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-2)


def image_gradient(network: torch.nn.Module, images: torch.Tensor, *, compiled: bool) -> torch.Tensor:
    torch.compiler.reset()
    leaf = images.clone().requires_grad_()
    call = torch.compile(network, dynamic=False) if compiled else network
    call(leaf).square().sum().backward()
    return leaf.grad


@pytest.mark.slow
def test_compiled_networks_give_images_the_gradient_of_eager_ones():
    torch.manual_seed(0)
    network = build_model("convnet", (3, 16, 16), 4, NetworkShape(depth=2, width=32)).requires_grad_(False)
    images = torch.randn(4, 3, 16, 16)
    wanted = image_gradient(network, images, compiled=False)
    torch.testing.assert_close(image_gradient(network, images, compiled=True), wanted, rtol=1e-3, atol=1e-4)
    for module in network.modules():
        if isinstance(module, Conv2d):
            module.gradient_dtype = torch.bfloat16
    low = image_gradient(network, images, compiled=True)
    assert 1e-4 < float((low - wanted).norm() / wanted.norm()) < 0.01


@pytest.mark.slow
def test_a_compiled_network_that_is_trained_has_gradients_of_its_weights():
    torch.manual_seed(0)
    network = build_model("convnet", (3, 16, 16), 4, NetworkShape(depth=2, width=32))
    images, found = torch.randn(4, 3, 16, 16), []
    for compiled in (False, True):
        network.zero_grad()
        image_gradient(network, images, compiled=compiled)
        found.append([parameter.grad.clone() for parameter in network.parameters()])
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_a_convolution_of_another_stride_or_kind_uses_torch():
    assert Conv2d(3, 8, 3, padding=1)._is_plain()
    others = ({"stride": 2}, {"dilation": 2}, {"groups": 3}, {"padding": 3}, {"padding": "same"})
    for other in (*others, {"padding_mode": "circular"}, {"kernel_size": (3, 1)}):
        assert not Conv2d(3, 9, **{"kernel_size": 3, "padding": 1, **other})._is_plain()

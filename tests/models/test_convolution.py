"""The gradient of a convolution on its input, against autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from atom_distill.base.network_shape import NetworkShape
from atom_distill.models.build import build_model
from atom_distill.models.convolution import Conv2d, input_gradient


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


def test_a_convolution_of_another_stride_or_kind_is_torch_s():
    assert Conv2d(3, 8, 3, padding=1)._is_plain()
    others = ({"stride": 2}, {"dilation": 2}, {"groups": 3}, {"padding": 3}, {"padding": "same"})
    for other in (*others, {"padding_mode": "circular"}):
        assert not Conv2d(3, 9, 3, **{"padding": 1, **other})._is_plain()

"""Rounding to steps against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ConfigError
from atom_distill.base.packing import packed_size
from atom_distill.ops.parameterization import Quantized, build_parameterization, restored
from atom_distill.ops.parameterization.quantized import from_integers, integers, steps_for_bits, steps_for_bytes

RANDOM = torch.Generator().manual_seed(0)
COLOR = (3, 8, 8)


def fitted(name):
    return build_parameterization(name, COLOR).fitted(lambda: torch.randn(50, *COLOR, generator=RANDOM))


@pytest.mark.parametrize("name", ["pixels", "tiles-2", "frequency-4-2"])
def test_networks_see_multiples_of_the_steps(name):
    inner = fitted(name)
    stored = inner.encode(torch.randn(2 * inner.images_per_row, *COLOR, generator=RANDOM))
    exact = inner.values(stored)
    form = Quantized(inner, steps_for_bits(inner, exact, 6))
    for key, values in form.values(stored).items():
        step = form.steps[key].numpy()
        wanted = np.round(exact[key].numpy() / step).astype(np.float32) * step
        np.testing.assert_array_equal(values.numpy(), wanted)
        assert abs(form.integers(stored)[key]).max() == 31
    assert torch.equal(form.decode(stored), inner.images(form.values(stored)))


@pytest.mark.parametrize("name", ["pixels", "frequency-4-2"])
def test_integers_bring_the_same_images_back(name):
    inner = fitted(name)
    stored = inner.encode(torch.randn(2 * inner.images_per_row, *COLOR, generator=RANDOM))
    form = Quantized(inner, steps_for_bits(inner, inner.values(stored), 8))
    values = from_integers(form.integers(stored), form.steps)
    loaded = Quantized(build_parameterization(name, COLOR), form.steps)
    assert torch.equal(loaded.decode(values), form.decode(stored))
    again = restored(name, COLOR, form.tensors())
    assert torch.equal(again.decode(stored), form.decode(stored))


def test_the_gradient_passes_as_if_nothing_were_rounded():
    inner = fitted("frequency-3-2")
    stored = inner.encode(torch.randn(inner.images_per_row, *COLOR, generator=RANDOM))["coefficients"]
    form = Quantized(inner, steps_for_bits(inner, inner.values({"coefficients": stored}), 2))
    weights = torch.randn(inner.images_per_row, *COLOR, generator=RANDOM)
    gradients = []
    for decoder in (inner, form):
        leaf = stored.clone().requires_grad_()
        (decoder.decode({"coefficients": leaf}) * weights).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_steps_are_the_smallest_float16_that_fit(bits):
    inner = fitted("frequency-4-2")
    values = {"coefficients": torch.randn(7, 8, 24, generator=RANDOM) * torch.logspace(-1, 2, 24)}
    steps = steps_for_bits(inner, values, bits)["coefficients"]
    wanted = (values["coefficients"].abs().amax((0, 1)).double() / (2 ** (bits - 1) - 1)).clamp_min(2**-14)
    half = steps.numpy().astype(np.float16)
    np.testing.assert_array_equal(half.astype(np.float32), steps.numpy())
    assert (steps.double() >= wanted).all()
    assert (np.nextafter(half, np.float16(0)).astype(np.float64) < wanted.numpy()).all()


def test_pixels_have_a_step_for_each_channel():
    images = torch.randn(5, *COLOR, generator=RANDOM) * torch.tensor([1.0, 5.0, 0.0]).view(3, 1, 1)
    steps = steps_for_bits(build_parameterization("pixels", COLOR), {"images": images}, 8)["images"]
    assert steps.shape == (3, 1, 1)
    assert steps.flatten().tolist() == pytest.approx(
        [*(images.abs().amax((0, 2, 3)) / 127).tolist()[:2], 2**-14], rel=1e-3
    )


def test_larger_values_are_clipped_where_a_most_is_given():
    inner = build_parameterization("pixels", COLOR)
    images = torch.linspace(-2, 2, 192).reshape(1, *COLOR).requires_grad_()
    form = Quantized(inner, {"images": torch.tensor(0.25)}, most=3)
    wanted = np.clip(np.round(images.detach().numpy() / 0.25), -3, 3) * 0.25
    np.testing.assert_array_equal(form.decode({"images": images}).detach().numpy(), wanted)
    form.decode({"images": images}).sum().backward()
    assert torch.equal(images.grad, torch.ones(1, *COLOR))


@pytest.mark.parametrize("near", [None, 0.125, 1.0, 2.5])
@pytest.mark.parametrize("limit", [150, 700])
def test_one_step_for_all_keeps_a_size(limit, near):
    values = {"coefficients": torch.randn(50, 1, 24, generator=RANDOM) * torch.logspace(1, -1, 24)}
    begin = None if near is None else {"coefficients": torch.tensor(near)}
    step = steps_for_bytes(values, packed_size, limit, begin)["coefficients"]
    assert step.shape == ()
    assert 0.97 * limit < packed_size(integers(values, {"coefficients": step})) <= limit
    assert float(np.float16(step)) == float(step)


def test_a_size_that_holds_nothing_is_refused():
    with pytest.raises(ConfigError, match="`bytes` leaves 3 bytes for the values"):
        steps_for_bytes({"coefficients": torch.randn(500, 1, 24)}, packed_size, 3)

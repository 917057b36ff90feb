"""Low frequencies against scipy's DCT, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from atom_distill.base.errors import ConfigError
from atom_distill.ops.parameterization import Frequency, build_parameterization

RANDOM = torch.Generator().manual_seed(0)
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=np.float64)
OPPONENT /= np.linalg.norm(OPPONENT, axis=1, keepdims=True)


def low_to_high(corner):
    return sorted(((row, column) for row in range(corner) for column in range(corner)), key=lambda at: (sum(at), at))


def coefficients(image, corners):
    planes = [image[0]] if len(image) == 1 else list(np.tensordot(OPPONENT, image, 1))
    spectra = [dctn(plane, norm="ortho") for plane in planes]
    return [spectra[plane][at] for plane, corner in enumerate(corners) for at in low_to_high(corner)]


def decoded(row, corners, shape):
    planes, rest = [], iter(row)
    for corner in corners:
        spectrum = np.zeros(shape[1:])
        for at in low_to_high(corner):
            spectrum[at] = next(rest)
        planes.append(idctn(spectrum, norm="ortho"))
    return np.array(planes) if shape[0] == 1 else np.tensordot(OPPONENT.T, np.array(planes), 1)


@pytest.mark.parametrize(
    ("name", "shape", "corners", "per_row"),
    [
        ("frequency-4-2", (3, 8, 12), (4, 2, 2), 12),
        ("frequency-3", (3, 5, 5), (3, 3, 3), 2),
        ("frequency-4-2", (1, 8, 6), (4,), 3),
        ("frequency-5-3-2", (3, 8, 8), (5, 3, 3), 2),
    ],
)
def test_coefficients_and_images_are_those_of_scipy(name, shape, corners, per_row):
    form = build_parameterization(name, shape)
    assert form.images_per_row == per_row
    images = torch.randn(2 * per_row, *shape, generator=RANDOM, dtype=torch.float64)
    deviations = torch.rand(sum(corner**2 for corner in corners), generator=RANDOM, dtype=torch.float64) + 0.5
    form = Frequency(shape, corners[0], corners[-1], deviations, per_row)
    stored = form.encode(images)
    found = form.values(stored)["coefficients"].flatten(0, 1).numpy()
    np.testing.assert_allclose(found, [coefficients(image, corners) for image in images.numpy()], atol=1e-12)
    wanted = [decoded(row, corners, shape) for row in found]
    np.testing.assert_allclose(form.decode(stored).numpy(), wanted, atol=1e-12)
    assert form.values_per_row() == per_row * len(deviations)


def test_all_frequencies_hold_the_images():
    images = torch.randn(4, 3, 6, 6, generator=RANDOM)
    form = build_parameterization("frequency-6-6", (3, 6, 6))
    torch.testing.assert_close(form.decode(form.encode(images)), images)


def test_fitted_values_have_the_same_scale_and_the_same_images():
    scales = torch.linspace(5, 0.1, 8)
    real = torch.randn(400, 1, 8, 8, generator=RANDOM) * scales * scales[:, None]
    free = build_parameterization("frequency-8-8-5", (1, 8, 8))
    form = free.fitted(lambda: real)
    stored = form.encode(real)
    torch.testing.assert_close(stored["coefficients"].flatten(0, 1).std(0, correction=0), torch.ones(64))
    torch.testing.assert_close(form.decode(stored), real, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(form.values(stored)["coefficients"], free.encode(real)["coefficients"])


def test_frequencies_that_real_images_lack_keep_a_deviation():
    form = build_parameterization("frequency-4", (1, 4, 4)).fitted(lambda: torch.randn(50, 1, 1, 1).expand(-1, 1, 4, 4))
    deviations = form.tensors()["deviations"]
    assert deviations[1:].tolist() == pytest.approx([1e-3 * float(deviations[0])] * 15)


def test_images_that_are_all_the_same_are_held():
    same = torch.full((9, 1, 4, 4), 0.5)
    form = build_parameterization("frequency-4-4-1", (1, 4, 4)).fitted(lambda: same)
    torch.testing.assert_close(form.decode(form.encode(same)), same)
    black = torch.zeros(9, 1, 4, 4)
    assert torch.equal(form.fitted(lambda: black).decode(form.encode(black)), black)


def test_gradients_reach_the_values():
    form = build_parameterization("frequency-3-2", (3, 4, 5)).fitted(lambda: torch.randn(9, 3, 4, 5, generator=RANDOM))
    stored = form.encode(torch.randn(form.images_per_row, 3, 4, 5, generator=RANDOM).double())
    values = stored["coefficients"].requires_grad_()
    assert torch.autograd.gradcheck(lambda found: form.decode({"coefficients": found}), values)


def test_images_that_have_no_such_frequencies_are_refused():
    with pytest.raises(ConfigError, match=r"4x9 pixels have corners of 1 to 4 frequencies, not 5 and 2: .*`param"):
        build_parameterization("frequency-5-2", (3, 4, 9))
    with pytest.raises(ConfigError, match="gray or color images, and these have 4 channels"):
        build_parameterization("frequency-2-2", (4, 8, 8))
    with pytest.raises(ConfigError, match="frequency-a needs one corner or two"):
        build_parameterization("frequency-a", (3, 8, 8))

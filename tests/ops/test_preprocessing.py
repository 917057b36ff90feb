"""Preprocessing against numpy float64; its inverse, and its stored tensors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import oracles.zca as oracle
from atom_distill.base.errors import ArtifactError, ShapeError
from atom_distill.ops.preprocessing import ChannelNormalization, ZCAWhitening, preprocessing_from_tensors

SHAPE = (3, 6, 6)


@cache
def pixels() -> torch.Tensor:
    """Return smooth random images (so that pixels are correlated), including both extreme values."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(150, *SHAPE[:1], 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=SHAPE[1:], mode="bilinear", align_corners=True)
    images = (smooth * 255).round().to(torch.uint8)
    images[0], images[1] = 0, 255
    return images


@cache
def rows() -> np.ndarray:
    return pixels().flatten(1).double().numpy() / 255


@cache
def fitted() -> tuple[np.ndarray, np.ndarray]:
    return oracle.fit(rows())


def zca() -> ZCAWhitening:
    mean, transform = fitted()
    return ZCAWhitening(torch.from_numpy(mean).float(), torch.from_numpy(transform).float())


def normalization() -> ChannelNormalization:
    channels = rows().reshape(-1, *SHAPE)
    return ChannelNormalization(
        torch.from_numpy(channels.mean((0, 2, 3))).float(), torch.from_numpy(channels.std((0, 2, 3))).float()
    )


BOTH = [pytest.param(normalization, id="normalize"), pytest.param(zca, id="zca")]


@pytest.mark.parametrize("build", BOTH)
def test_pixels_given_as_floats_stay_as_they_are(build):
    given = pixels().float()
    assert torch.equal(build().apply(given), build().apply(pixels()))
    assert torch.equal(given, pixels().float())


@pytest.mark.parametrize("build", BOTH)
def test_the_round_trip_is_exact_to_a_hundredth_of_a_gray_level(build):
    preprocessing = build()
    images = preprocessing.apply(pixels())
    back = preprocessing.invert(images)
    assert (images.shape, images.dtype) == (pixels().shape, torch.float32)
    assert (back - pixels().float() / 255).abs().max() < 0.01 / 255
    assert torch.equal((back * 255).round().clamp(0, 255).to(torch.uint8), pixels())


def test_normalization_matches_numpy(near):
    channels = rows().reshape(-1, *SHAPE)
    want = (channels - channels.mean((0, 2, 3), keepdims=True)) / channels.std((0, 2, 3), keepdims=True)
    got = normalization().apply(pixels())
    near(got, want)
    torch.testing.assert_close(got.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(got.std((0, 2, 3), correction=0), torch.ones(3))


def test_whitening_matches_numpy(near):
    mean, transform = fitted()
    got = zca().apply(pixels()[:20])
    near(got.flatten(1), np.stack([oracle.whiten(row, mean, transform) for row in rows()[:20]]), atol=1e-5)
    near(
        zca().invert(got).flatten(1),
        np.stack([oracle.color(row, mean, transform) for row in got.flatten(1).double().numpy()]),
        atol=1e-5,
    )


def test_whitening_leaves_variances_below_one_and_no_correlation():
    white = zca().apply(pixels()).flatten(1).double()
    covariance = torch.cov(white.T)
    variances = torch.from_numpy(np.linalg.eigvalsh(np.cov(rows().T))).clamp_min(0)
    torch.testing.assert_close(torch.linalg.eigvalsh(covariance), variances / (variances + 0.1), atol=1e-5, rtol=0)


def test_whitening_in_chunks_equals_whitening_at_once(monkeypatch):
    whole = zca().apply(pixels())
    monkeypatch.setattr("atom_distill.ops.preprocessing._CHUNK", 40)  # 150 images: three whole chunks and a rest
    torch.testing.assert_close(zca().apply(pixels()), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("build", BOTH)
def test_low_precision_is_accurate_to_one_percent(build):
    full, low = build().apply(pixels()), build().apply(pixels(), torch.bfloat16)
    assert low.dtype == torch.bfloat16
    assert (low.float() - full).norm() < 0.01 * full.norm()


@pytest.mark.parametrize("build", BOTH)
def test_the_pixels_are_not_modified(build):
    before = pixels().clone()
    build().apply(pixels())
    assert torch.equal(pixels(), before)


@pytest.mark.parametrize("build", BOTH)
def test_the_inverse_is_not_clamped_and_lets_gradients_through(build):
    images = (build().apply(pixels()[:2]) * 3).requires_grad_()
    back = build().invert(images)
    assert back.max() > 1 or back.min() < 0
    back.sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("build", BOTH)
def test_stored_tensors_rebuild_it_bit_for_bit(build):
    preprocessing = build()
    again = preprocessing_from_tensors(preprocessing.kind, preprocessing.tensors())
    assert type(again) is type(preprocessing)
    assert torch.equal(again.apply(pixels()), preprocessing.apply(pixels()))
    assert torch.equal(again.mean, preprocessing.mean)
    if isinstance(preprocessing, ZCAWhitening):
        assert torch.equal(again.transform, preprocessing.transform)
        assert torch.equal(again.inverse, preprocessing.inverse)


def test_a_stored_whitening_is_half_the_matrix():
    side = len(zca().mean)
    assert sum(t.numel() for t in zca().tensors().values()) == side + side * (side + 1) // 2


@pytest.mark.parametrize(
    ("kind", "name"), [("normalize", "mean"), ("normalize", "std"), ("zca", "mean"), ("zca", "transform_upper")]
)
def test_a_missing_tensor_is_named(kind, name):
    tensors = {"normalize": normalization, "zca": zca}[kind]().tensors()
    del tensors[name]
    with pytest.raises(ArtifactError, match=f"stored '{kind}' preprocessing lacks the tensor '{name}'"):
        preprocessing_from_tensors(kind, tensors)


def test_an_unknown_kind_is_named():
    with pytest.raises(ArtifactError, match="unknown kind 'pca'"):
        preprocessing_from_tensors("pca", normalization().tensors())


def test_a_whitening_of_the_wrong_length_is_refused():
    tensors = zca().tensors()
    tensors["transform_upper"] = tensors["transform_upper"][:-1]
    with pytest.raises(ArtifactError, match=r"the stored whitening has \d+ values, not those of a 108-row triangle"):
        preprocessing_from_tensors("zca", tensors)


def test_images_of_the_wrong_size_are_refused():
    one_channel, small = torch.zeros(2, 1, 6, 6, dtype=torch.uint8), torch.zeros(2, 3, 5, 6, dtype=torch.uint8)
    with pytest.raises(ShapeError, match=r"expected images with 3 channels, got \(2, 1, 6, 6\)"):
        normalization().apply(one_channel)
    with pytest.raises(ShapeError, match="expected images with 3 channels"):
        normalization().invert(one_channel.float())
    with pytest.raises(ShapeError, match=r"fitted on 108 values an image, got \(2, 3, 5, 6\)"):
        zca().apply(small)
    with pytest.raises(ShapeError, match="fitted on 108 values an image"):
        zca().invert(small.float())


@pytest.mark.parametrize("build", BOTH)
def test_what_is_not_pixels_is_refused(build):
    with pytest.raises(ShapeError, match=r"floats in 0\.\.1: give uint8 from 0 to 255, or multiply them by 255"):
        build().apply(pixels().float() / 255)
    with pytest.raises(ShapeError, match=r"must be a torch tensor .* not ndarray"):
        build().apply(pixels().numpy())
    torch.testing.assert_close(build().apply(pixels().float()), build().apply(pixels()))
    assert build().apply(torch.zeros(0, *SHAPE)).shape == (0, *SHAPE)

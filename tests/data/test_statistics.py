"""Statistics gathered in parts, and the whitening fitted from them, against numpy float64 on the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from kornia.enhance import zca_mean

import oracles.zca as oracle
from atom_distill.base.errors import ConfigError, ShapeError
from atom_distill.data import statistics
from atom_distill.data.dataset import ImageDataset, Split
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.data.statistics import channel_statistics, mean_and_covariance
from atom_distill.ops.preprocessing import preprocessing_from_tensors

CHUNKS = [1, 200, 1 << 24]
"""Bytes: images one by one, two or three together with a rest, all at once."""


def pictures(count: int = 17) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 5, 5), dtype=np.uint8)
    images[:, 1] //= 9
    images[:, 2] = images[:, 0] // 2 + 100  # something to correlate
    return images


def in_memory(images: torch.Tensor) -> ImageDataset:
    split = Split(images, torch.arange(len(images)) % 2)
    return ImageDataset("toy", split, split, ("a", "b"), "made", fingerprint="toy")


@pytest.mark.parametrize("chunk", CHUNKS)
def test_statistics_agree_with_numpy_in_any_chunks(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", chunk)
    images = pictures()
    mean, std = channel_statistics(torch.from_numpy(images))
    np.testing.assert_allclose(mean.numpy(), (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std.numpy(), (images / 255).std((0, 2, 3)), rtol=1e-10)


def test_statistics_refuse_floats():
    with pytest.raises(ShapeError, match="uint8 images"):
        channel_statistics(torch.zeros(1, 3, 2, 2))
    with pytest.raises(ShapeError, match="N >= 2"):
        mean_and_covariance(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_covariance_agrees_with_numpy_in_any_chunks(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", chunk)
    rows = pictures().reshape(17, -1) / 255
    mean, covariance = mean_and_covariance(torch.from_numpy(pictures()))
    np.testing.assert_allclose(mean.numpy(), rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance.numpy(), np.cov(rows.T), atol=1e-6 * np.cov(rows.T).max())


@pytest.mark.parametrize("count", [17, 300])
def test_the_fitted_whitening_agrees_with_eigenvectors_in_numpy(count):
    """Also of fewer images than an image has values, where most eigenvalues are zero."""
    images = torch.from_numpy(pictures(count))
    fitted = fit_preprocessing("zca", in_memory(images))
    mean, transform = oracle.fit(pictures(count).reshape(count, -1) / 255)
    stored = fitted.tensors()
    np.testing.assert_allclose(stored["mean"].numpy(), mean, rtol=1e-5)
    upper = transform[np.triu_indices(len(mean))]
    np.testing.assert_allclose(stored["transform_upper"].numpy(), upper, atol=1e-5 * np.abs(upper).max())


def test_the_fitted_whitening_is_kornias():
    """Kornia is the library that the paper's supplement names."""
    images = torch.from_numpy(pictures(300))
    transform, mean, _ = zca_mean(images.flatten(1).double() / 255, eps=0.1)
    fitted = fit_preprocessing("zca", in_memory(images))
    want = (images.flatten(1).double() / 255 - mean) @ transform
    torch.testing.assert_close(fitted.apply(images).flatten(1), want.float(), atol=1e-4, rtol=0)


def _named(images: torch.Tensor, name: str) -> ImageDataset:
    return replace(in_memory(images), name=name, request={"name_or_path": name})


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("tiny-imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_legacy_constants_are_those_of_published_code(name, mean, std):
    images = torch.from_numpy(pictures())
    fitted = fit_preprocessing("legacy-normalize", _named(images, name))
    want = (pictures() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(fitted.apply(images).numpy(), want, atol=1e-5)
    again = preprocessing_from_tensors(fitted.kind, fitted.tensors())
    assert again.kind == "legacy-normalize"
    assert torch.equal(again.apply(images), fitted.apply(images))


def test_legacy_constants_are_for_color_and_for_the_sets_they_belong_to():
    images = torch.from_numpy(pictures())
    folder = replace(in_memory(images), name="cifar10", request={"name_or_path": "/my/cifar10"})
    for other in (in_memory(images), _named(images[:, :1], "cifar10"), folder):
        with pytest.raises(ConfigError, match="there are no legacy constants for"):
            fit_preprocessing("legacy-normalize", other)

"""Tiles against bilinear interpolation worked out pixel by pixel in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ConfigError, UnknownNameError
from atom_distill.ops.parameterization import build_parameterization
from oracles.bilinear import tiles

RANDOM = torch.Generator().manual_seed(0)
SHAPES = [(3, 8, 12), (1, 7, 9)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_tiles_are_enlarged_bilinearly_row_after_row(factor, shape):
    channels, height, width = shape
    grids = torch.randn(2, channels, factor * 2, factor * 3, generator=RANDOM)
    found = build_parameterization(f"tiles-{factor}", shape).decode({"images": grids}).numpy()
    wanted = [tile for grid in grids.numpy() for tile in tiles(grid, factor, height, width)]
    np.testing.assert_allclose(found, np.stack(wanted), atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_initial_tiles_keep_to_the_budget_and_to_their_places(factor, shape):
    channels, height, width = shape
    form = build_parameterization(f"tiles-{factor}", shape)
    values = torch.randn(2 * factor**2, channels, 1, 1, generator=RANDOM)
    stored = form.encode(values.expand(-1, *shape))
    assert form.images_per_row == factor**2
    assert form.values_per_row() == stored["images"][0].numel() <= channels * height * width
    assert stored["images"].shape[0] == 2
    torch.testing.assert_close(form.decode(stored), values.expand(-1, *shape))  # images of one color stay what they are


def test_initial_tiles_are_means_of_areas():
    images = torch.randn(4, 3, 8, 12, generator=RANDOM)
    grid = build_parameterization("tiles-2", (3, 8, 12)).encode(images)["images"][0]
    for place, image in enumerate(images.numpy()):
        tile = grid[:, 4 * (place // 2) :, 6 * (place % 2) :][:, :4, :6].numpy()
        np.testing.assert_allclose(tile, image.reshape(3, 4, 2, 6, 2).mean((2, 4)), atol=1e-6)


def test_tiles_have_gradients_and_room():
    form = build_parameterization("tiles-2", (1, 5, 5))
    grids = torch.randn(1, 1, 4, 4, generator=RANDOM, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: form.decode({"images": values}), grids)
    with pytest.raises(ConfigError, match="images of 3x9 pixels have no room for 4x4"):
        build_parameterization("tiles-4", (1, 3, 9))


@pytest.mark.parametrize("name", ["freqency-12-6", "tiles-5", "wavelets"])
def test_an_unknown_name_is_told_with_all_there_are(name):
    with pytest.raises(UnknownNameError) as caught:
        build_parameterization(name, (3, 8, 8))
    message = str(caught.value)
    assert f"unknown parameterization '{name}'" in message
    assert message.endswith("Known: frequency-A-B, pixels, tiles-2, tiles-3, tiles-4")
    assert ("Did you mean 'frequency-A-B'" in message) == name.startswith("freq")

"""The layout of images in rows, against pixels placed one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from atom_distill.base.image_grid import image_grid, to_picture


def noise(count: int, channels: int = 3, height: int = 5, width: int = 7) -> torch.Tensor:
    shape = (count, channels, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("counts", "scale", "gap", "left", "columns"),
    [([2, 2], 1, 0, None, None), ([3, 1], 1, 0, None, None), ([1, 3], 2, 4, None, None), ([2, 1], 3, 2, 50, 4)],
)
def test_every_pixel_is_where_it_belongs(channels, counts, scale, gap, left, columns):
    rows = [noise(count, channels) for count in counts]
    height, width = 5 * scale, 7 * scale
    start, across = gap if left is None else left, max(counts) if columns is None else columns
    want = np.full((gap + len(rows) * (height + gap), start + across * (width + gap), channels), 255, np.uint8)
    for y in range(want.shape[0]):
        for x in range(want.shape[1]):
            row, down = divmod(y - gap, height + gap)
            column, right = divmod(x - start, width + gap)
            if down < height and right < width and 0 <= column < counts[row]:
                want[y, x] = rows[row][column, :, down // scale, right // scale].numpy()
    picture = image_grid(rows, tile=(width, height), gap=gap, left=left, columns=columns)
    assert picture.mode == {1: "L", 3: "RGB"}[channels]
    assert np.array_equal(np.asarray(picture).reshape(want.shape), want)


def test_large_images_are_averaged_over_boxes():
    (image,) = images = noise(1, 3, 8, 12)
    means = image.double().unflatten(1, (4, 2)).unflatten(3, (6, 2)).mean(dim=(2, 4)).permute(1, 2, 0).numpy()
    found = np.asarray(image_grid([images], tile=(6, 4))).astype(float)
    assert np.abs(found - means).max() <= 1  # Pillow rounds after each direction


def test_the_space_has_the_color_that_was_asked_for():
    picture = np.asarray(image_grid([noise(2), noise(1)], background="black"))
    assert (picture[5:, 7:] == 0).all()
    assert (np.asarray(image_grid([noise(1)], gap=1))[0] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_has_the_pixels_of_its_image(channels):
    image = noise(1, channels)[0]
    assert np.array_equal(np.asarray(to_picture(image)).reshape(5, 7, channels), image.permute(1, 2, 0).numpy())

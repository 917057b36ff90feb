"""Images as Pillow pictures, and many of them laid out in rows as one."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor


def to_picture(pixels: Tensor) -> Image.Image:
    """Return pixels, uint8 [C, H, W], as a picture, gray for one channel."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def image_grid(
    rows: Sequence[Tensor],
    *,
    tile: tuple[int, int] | None = None,
    gap: int = 0,
    left: int | None = None,
    columns: int | None = None,
    background: str = "white",
) -> Image.Image:
    """Return one picture with the images of each row side by side, gray if they have one channel.

    Args:
        rows: images of each row, uint8 [n, C, H, W], all of one shape; at least one image in all.
        tile: (width, height) to which every image is resized (pixels): enlarged without smoothing, or averaged over
            boxes if it is wider. None is the images' own size.
        gap: space between images, and around them all (pixels).
        left: space before the first image of a row (pixels); None is the gap.
        columns: images for which a row has space; None is as many as the longest row has.
        background: color of the space.
    """
    channels, own_height, own_width = rows[0].shape[1:]
    width, height = tile or (own_width, own_height)
    resampling = Image.Resampling.BOX if own_width > width else Image.Resampling.NEAREST
    left = gap if left is None else left
    columns = max(map(len, rows)) if columns is None else columns
    size = (left + columns * (width + gap), gap + len(rows) * (height + gap))
    sheet = Image.new("L" if channels == 1 else "RGB", size, background)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            picture = to_picture(image).resize((width, height), resampling)
            sheet.paste(picture, (left + x * (width + gap), gap + y * (height + gap)))
    return sheet

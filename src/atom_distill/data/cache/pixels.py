"""Converting any Pillow image to eight bits: gray or RGB, upright, and on white unless it is 16-bit gray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_GRAY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
_ORIENTATION = 0x0112
_QUARTER_TURNS = frozenset({5, 6, 7, 8})


def upright_size(image: Image) -> tuple[int, int]:
    """Return (width, height) of an image after the rotation in its EXIF data."""
    width, height = image.size
    if image.format == "PNG" and "exif" not in image.info:
        return width, height  # Pillow would decode the whole image to look for EXIF data behind the pixels
    return (height, width) if image.getexif().get(_ORIENTATION) in _QUARTER_TURNS else (width, height)


def has_gray_pixels(image: Image) -> bool:
    """Return whether an image is gray, from the header alone; a palette is gray if all its colors are."""
    if image.mode != "P":
        return image.mode in _GRAY_MODES
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    return bool(len(palette)) and bool((palette == palette[:, :1]).all())


def to_eight_bits(image: Image, *, gray: bool) -> Image:
    """Decode to mode L (`gray`) or RGB.

    16-bit gray is scaled (65535 becomes 255), whatever its transparency; other transparent images are put on white.
    EXIF rotation is applied.

    Raises:
        ValueError: the pixels are floats, whose range is unknown.
        OSError: the file is damaged.
    """
    from PIL import ImageOps

    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("float pixels have no known range")
    if image.mode in _SIXTEEN_BIT_MODES:
        image = _scale_sixteen_bits(image)
    elif image.has_transparency_data:
        image = _on_white(image)
    return image.convert("L" if gray else "RGB")


def _scale_sixteen_bits(image: Image) -> Image:
    from PIL import Image as PillowImage

    # mode I (32 bits) is how older Pillow opens 16-bit PNG
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return PillowImage.fromarray(((values + 128) // 257).astype(np.uint8))


def _on_white(image: Image) -> Image:
    from PIL import Image as PillowImage

    layered = image.convert("RGBA")
    white = PillowImage.new("RGBA", layered.size, (255, 255, 255, 255))
    return PillowImage.alpha_composite(white, layered).convert("RGB")

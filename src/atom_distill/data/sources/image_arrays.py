"""Images that are stored as arrays of numbers rather than as encoded files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_CHANNELS_FIRST, _CHANNELS_LAST = (1, 3), (1, 3, 4)
_WANTED = "[H, W], [H, W, C] or [C, H, W], with C = 1 or 3, or [H, W, 4]"


def channel_axis(shape: Sequence[int]) -> int | None:
    """Return which axis of an image's shape is that of the channels, 0 or 2; None for a gray image [H, W].

    Raises:
        ValueError: it is not the shape of an image, or either of two axes could be it; the text says what is wanted.
    """
    if len(shape) == 2:
        return None
    first = len(shape) == 3 and shape[0] in _CHANNELS_FIRST
    last = len(shape) == 3 and shape[2] in _CHANNELS_LAST
    if first and last:
        raise ValueError(f"images of shape {list(shape)} could be [H, W, C] or [C, H, W]; store them encoded, as PNG")
    if not first and not last:
        raise ValueError(f"images of shape {list(shape)}; wanted {_WANTED}")
    return 0 if first else 2


def image_of_array(pixels: NDArray[Any]) -> Image:
    """Return an image of whole numbers in 0..255 as Pillow's, in mode L, RGB or RGBA.

    Raises:
        ValueError: its shape is not that of an image (see `channel_axis`), or its values are others.
    """
    from PIL import Image as PillowImage

    axis = channel_axis(pixels.shape)
    if pixels.dtype.kind not in "iu":
        raise ValueError(f"its values are {pixels.dtype}, whose range is unknown; store whole numbers in 0..255")
    if pixels.dtype != np.uint8 and pixels.size and (pixels.min() < 0 or pixels.max() > 255):
        raise ValueError(f"its values lie in {pixels.min()}..{pixels.max()}; wanted 0..255")
    if axis == 0:
        pixels = pixels.transpose(1, 2, 0)
    if axis is not None and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return PillowImage.fromarray(np.ascontiguousarray(pixels, np.uint8))

"""Many small images as one: a data URI that a page cuts its tiles from."""

from __future__ import annotations

import base64
import io
import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from atom_distill.base.image_grid import image_grid

Coding = Literal["exact", "photo", "sketch"]
"""Without loss; with little; as small as can be looked at."""

_QUALITY = {"photo": 85, "sketch": 65}
_BLOCK = 16
"""Side of the squares that lossy coding works on: tiles begin at its multiples, and do not bleed into each other."""


class Sprite(NamedTuple):
    """A sheet of tiles.

    Attributes:
        uri: the sheet as a data URI.
        columns: tiles in a row.
        width: of a tile, pixels.
        height: likewise.
        across: pixels from a tile to the next one in its row.
        down: pixels from a row to the next.
        tiles: how many.
    """

    uri: str
    columns: int
    width: int
    height: int
    across: int
    down: int
    tiles: int


def sprite(tiles: Tensor, coding: Coding) -> Sprite:
    """Lay tiles into one sheet.

    Args:
        tiles: uint8 [n, C, H, W], n >= 1, gray or RGB.
        coding: how much may be lost.
    """
    count, _, height, width = tiles.shape
    if coding == "exact":
        across, down = width, height
    else:
        across, down = (-(-side // _BLOCK) * _BLOCK for side in (width, height))
        tiles = F.pad(tiles.float(), (0, across - width, 0, down - height), mode="replicate").to(torch.uint8)
    columns = math.ceil(math.sqrt(count))
    uri = _data_uri(image_grid(tiles.split(columns), background="black"), coding)
    return Sprite(uri, columns, width, height, across, down, count)


def _data_uri(picture: Image.Image, coding: Coding) -> str:
    buffer = io.BytesIO()
    if coding == "exact":
        picture.save(buffer, format="PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, format="WEBP", quality=_QUALITY[coding], method=6)
    kind = "png" if coding == "exact" else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"

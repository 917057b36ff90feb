"""Many small images as one sheet: a data URI from which the page cuts its tiles."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from atom_distill.base.image_grid import image_grid

Coding = Literal["exact", "photo", "sketch"]
"""Lossless; lossy at high quality; lossy and small."""

_QUALITY = {"photo": 85, "sketch": 65}
_BLOCK = 16
"""Side of the blocks of lossy coding: tiles start at its multiples, so that they do not bleed into each other."""


@dataclass(frozen=True)
class Sprite:
    """A sheet of tiles.

    Attributes:
        uri: the sheet as a data URI.
        columns: tiles in a row.
        width: of a tile (pixels).
        height: of a tile (pixels).
        across: from a tile to the next one in its row (pixels).
        down: from a row to the next (pixels).
        tiles: number of tiles.
    """

    uri: str
    columns: int
    width: int
    height: int
    across: int
    down: int
    tiles: int


def sprite(tiles: Tensor, coding: Coding, shrink: int = 1) -> Sprite:
    """Return a sheet of tiles.

    Args:
        tiles: uint8 [n, C, H, W], n >= 1, gray or RGB.
        coding: of the sheet.
        shrink: factor by which their sides are divided; each pixel becomes the mean of a square.
    """
    if shrink > 1:
        tiles = F.avg_pool2d(tiles.float(), shrink, ceil_mode=True).round().to(torch.uint8)
    count, _, height, width = tiles.shape
    across, down = width, height
    if coding != "exact":
        across, down = (-(-side // _BLOCK) * _BLOCK for side in (width, height))
        tiles = F.pad(tiles.float(), (0, across - width, 0, down - height), mode="replicate").to(torch.uint8)
    columns = math.ceil(math.sqrt(count))
    sheet = image_grid(tiles.split(columns), background="black")
    return Sprite(_data_uri(sheet, coding), columns, width, height, across, down, count)


def _data_uri(picture: Image.Image, coding: Coding) -> str:
    buffer = io.BytesIO()
    if coding == "exact":
        picture.save(buffer, format="PNG", optimize=True)
    else:
        picture.convert("RGB").save(buffer, format="WEBP", quality=_QUALITY[coding], method=6)
    kind = "png" if coding == "exact" else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""One picture that shows the first images of each class."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from atom_distill.data.dataset import ImageDataset

_TILE = 64  # pixels: smallest longer side of a tile; the largest is four times that
_GAP = 2
_FONT_SIZE = 14
_MAX_NAME = 24  # characters


def contact_sheet(dataset: ImageDataset, per_class: int = 8, max_classes: int = 20) -> Image.Image:
    """Draw the first training images of each class in a row, with the class name to the left.

    Args:
        dataset: what to show.
        per_class: images per row.
        max_classes: rows; the first classes are shown.

    Returns:
        An RGB picture; small images are enlarged without smoothing, so that their pixels show.
    """
    rows = dataset.class_indices()[:max_classes]
    names = [_short(name) for name in dataset.class_names[:max_classes]]
    font = ImageFont.load_default(size=_FONT_SIZE)
    left = round(max(font.getlength(name) for name in names)) + 4 * _GAP
    _, height, width = dataset.image_shape
    tile = _tile_size(width, height)
    size = (left + per_class * (tile[0] + _GAP), len(rows) * (tile[1] + _GAP) + _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, (name, indices) in enumerate(zip(names, rows, strict=True)):
        top = _GAP + row * (tile[1] + _GAP)
        draw.text((2 * _GAP, top + tile[1] // 2), name, fill="black", font=font, anchor="lm")
        for column, index in enumerate(indices[:per_class].tolist()):
            sheet.paste(_tile(dataset.train.images[index], tile), (left + column * (tile[0] + _GAP), top))
    return sheet


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 3] + "..."


def _tile_size(width: int, height: int) -> tuple[int, int]:
    longer = max(width, height)
    if longer < _TILE:
        scale = -(-_TILE // longer)  # an integer, so that all pixels are shown at one size
        return width * scale, height * scale
    scale_down = min(1.0, 4 * _TILE / longer)
    return max(1, round(width * scale_down)), max(1, round(height * scale_down))


def _tile(image: Tensor, size: tuple[int, int]) -> Image.Image:
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    smooth = picture.width > size[0]
    return picture.resize(size, Image.Resampling.BOX if smooth else Image.Resampling.NEAREST)

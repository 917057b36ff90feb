"""One picture that shows the first images of each class."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from atom_distill.base.image_grid import image_grid
from atom_distill.base.plain_text import abbreviated
from atom_distill.data.dataset import ImageDataset

_TILE = 64  # pixels: smallest longer side of a tile; the largest is four times that
_GAP = 2
_FONT_SIZE = 14
_MAX_NAME = 24  # characters


def contact_sheet(dataset: ImageDataset, per_class: int = 8, max_classes: int = 20) -> Image.Image:
    """Return a picture with the first training images of each class in a row, after the name of the class.

    Args:
        dataset: what to show.
        per_class: images per row.
        max_classes: rows; the first classes are shown.

    Returns:
        An RGB picture; small images are enlarged without smoothing, so that their pixels show.
    """
    rows = [dataset.train.images[indices[:per_class]] for indices in dataset.class_indices()[:max_classes]]
    names = [abbreviated(name, _MAX_NAME) for name in dataset.class_names[:max_classes]]
    font = ImageFont.load_default(size=_FONT_SIZE)
    left = round(max(font.getlength(name) for name in names)) + 4 * _GAP
    _, height, width = dataset.image_shape
    tile = _tile_size(width, height)
    sheet = image_grid(rows, tile=tile, gap=_GAP, left=left, columns=per_class).convert("RGB")
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        top = _GAP + row * (tile[1] + _GAP)
        draw.text((2 * _GAP, top + tile[1] // 2), name, fill="black", font=font, anchor="lm")
    return sheet


def _tile_size(width: int, height: int) -> tuple[int, int]:
    longer = max(width, height)
    if longer < _TILE:
        scale = -(-_TILE // longer)  # an integer, so that all pixels are shown at one size
        return width * scale, height * scale
    scale_down = min(1.0, 4 * _TILE / longer)
    return max(1, round(width * scale_down)), max(1, round(height * scale_down))

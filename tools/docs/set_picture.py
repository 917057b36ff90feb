"""Draw what a set that comes with the package decodes to, for README and documentation: `make figures`.

python tools/docs/set_picture.py [FOLDER]      # default: docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import atom_distill as ad
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.pictures import fit_contrast, save_picture
from atom_distill.base.image_grid import image_grid

NAME = "cifar10-3072"
COLUMNS = 24
"""Pictures of each class, so that a page shows them in about their own size."""
COLORS = 256


def picture(tiny: DistilledDataset) -> Image.Image:
    """Return the first pictures of each class in a row."""
    pixels = fit_contrast(tiny.preprocessing.invert(tiny.images))
    rows = [of_class[:COLUMNS] for of_class in pixels.split(tiny.per_class.tolist())]
    return image_grid(rows, gap=2).quantize(COLORS)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    save_picture(folder / f"{NAME}.png", picture(ad.load_distilled(NAME)))

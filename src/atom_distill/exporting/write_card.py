"""The card of an exported folder."""

from __future__ import annotations

from pathlib import Path

from atom_distill.artifact.card.layout import GRID_FILE, Layout
from atom_distill.artifact.card.render_card import render_card
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import CARD_FILE
from atom_distill.artifact.pictures import fit_contrast, grid, save_picture
from atom_distill.base.files import write_text


def write_card(distilled: DistilledDataset, folder: Path, layout: Layout) -> None:
    """Write the card of a folder, and its picture."""
    pixels = fit_contrast(distilled.preprocessing.invert(distilled.images))
    save_picture(folder / GRID_FILE, grid(pixels, distilled.per_class))
    write_text(folder / CARD_FILE, render_card(distilled.card_content(), layout))

"""Export as a folder with what is stored, packed where it is rounded, and a card that prints its decoder."""

from __future__ import annotations

from pathlib import Path

from atom_distill.artifact.card.layout import Layout, run_files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.exporting import examples, usage_text
from atom_distill.exporting.hub_folder import write_run
from atom_distill.exporting.write_card import write_card


def write_compact_folder(distilled: DistilledDataset, folder: Path) -> None:
    """Write a small run folder: tensors, transform, settings, scores, the card and its picture."""
    write_run(distilled, folder)
    content = distilled.card_content()
    use = usage_text.COMPACT_USE.format(
        example=examples.safetensors(content, "."),  # a decoder is run in the folder
        size=content.size,
        preprocess=content.preprocess,
    )
    write_card(distilled, folder, Layout({}, use, run_files(content)))

"""Class folders of PNGs."""

from __future__ import annotations

import json
from pathlib import Path

from atom_distill.artifact.card import Layout
from atom_distill.artifact.card_header import data_files, features
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.pictures import place_images
from atom_distill.base.files import write_text
from atom_distill.exporting import card_text, examples
from atom_distill.exporting.clipping import clipping_of
from atom_distill.exporting.tables import write_card

METADATA_FILE = "metadata.jsonl"
"""The name by which the loader of image folders finds labels."""


def write_imagefolder(distilled: DistilledDataset, folder: Path) -> None:
    """Write `<class>/NNNN.png`, the labels (folders alone are numbered by the alphabet), and the card."""
    labels = distilled.labels.tolist()
    names = place_images(folder, distilled.pixels(), labels, distilled.class_names)
    rows = [{"file_name": name, "label": label} for name, label in zip(names, labels, strict=True)]
    if distilled.soft_labels is not None:
        rows = [{**row, "soft_label": soft} for row, soft in zip(rows, distilled.soft_labels.tolist(), strict=True)]
    write_text(folder / METADATA_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    write_card(distilled, folder, _layout(distilled))


def _layout(distilled: DistilledDataset) -> Layout:
    soft = "" if distilled.soft_labels is None else ", soft_label [K] probabilities to train on"
    use = card_text.PICTURES_USE.format(
        example=examples.pictures(distilled, card_text.HERE), clipping=clipping_of(distilled)
    )
    return Layout(
        # the loader of pictures reads features from here, and not from `dataset_info`
        data_files([METADATA_FILE, "*/*.png"], features(distilled)),
        use,
        [("<class>/NNNN.png", "the images"), (METADATA_FILE, f"a line an image: file_name, label{soft}")],
    )

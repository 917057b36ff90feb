"""Export as class folders of PNGs."""

from __future__ import annotations

import json
from pathlib import Path

from atom_distill.artifact.card.header import data_files, features
from atom_distill.artifact.card.layout import Layout
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.pictures import place_images
from atom_distill.base.files import write_text
from atom_distill.exporting import examples, usage_text
from atom_distill.exporting.clipping import clipping_of
from atom_distill.exporting.write_card import write_card

METADATA_FILE = "metadata.jsonl"
"""Where the loader of image folders finds labels."""


def write_imagefolder(distilled: DistilledDataset, folder: Path) -> None:
    """Write `<class>/NNNN.png`, the labels (the loader numbers folders alphabetically), and the card."""
    labels, soft_labels = distilled.labels.tolist(), distilled.soft_labels
    names = place_images(folder, distilled.pixels(), labels, distilled.class_names)
    rows = [{"file_name": name, "label": label} for name, label in zip(names, labels, strict=True)]
    if soft_labels is not None:
        rows = [{**row, "soft_label": soft} for row, soft in zip(rows, soft_labels.tolist(), strict=True)]
    write_text(folder / METADATA_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    content = distilled.card_content()
    # the loader of image folders reads features from here, and not from `dataset_info`
    data = data_files([METADATA_FILE, "*/*.png"], features(content))
    use = usage_text.PICTURES_USE.format(
        example=examples.pictures(content, usage_text.HERE), clipping=clipping_of(distilled)
    )
    soft = ", soft_label [K] probabilities to train on" if content.has_soft_labels else ""
    what = f"a line per image: file_name, label{soft}"
    write_card(distilled, folder, Layout(data, use, [("<class>/NNNN.png", "the images"), (METADATA_FILE, what)]))

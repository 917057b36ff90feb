"""The README.md of a distilled set: what it is, a picture, its scores, how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from atom_distill.artifact.scores import Score
from atom_distill.base import markdown

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset

GRID_FILE = "grid.png"
IMPORTED = "imported"
"""The method of a set that was made elsewhere, by nobody knows what."""

_TEMPLATE = """\
---
task_categories:
- image-classification
tags:
- dataset-distillation
- {method}
size_categories:
- {size}
---
# {dataset}, distilled to {images} images

{images} synthetic images ({per_class}, {classes} classes, {shape}) that stand in for the
{train_size} training images of {dataset}, {made} with atom-distill {version}.

![the distilled images]({grid})

The picture is contrast-fitted: what lies outside the range of a pixel is compressed into it.

## Scores

{scores}

## Use

```python
import atom_distill as ad
from torch.utils.data import DataLoader

tiny = ad.DistilledDataset.load("path/to/this/folder")
loader = DataLoader(tiny.to_torch(), batch_size=64, shuffle=True)  # model space: train on these
```

Train on the tensors of `distilled.safetensors`, not on the pictures: they live in the space of
`preprocessing.safetensors` ({preprocess}), which must also be applied to the real images that a network is tested on
(`tiny.preprocessing.apply(uint8_images)`). The PNGs are rounded and clipped, for people to look at.

| file | what |
|---|---|
| `distilled.safetensors` | images [N, C, H, W] float32 in model space, {labels} |
| `preprocessing.safetensors` | the transform between pixels and model space |
| `images/` | the same through the inverse transform, as PNG |
| `config.yaml` | every setting, the data set, versions, seed |
| `metrics.jsonl` | the loss by step and term |
| `scores.json` | every evaluation with its protocol |
"""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def card(distilled: DistilledDataset) -> str:
    """Write the card as Markdown with the front matter that the Hugging Face hub reads."""
    settings = distilled.settings
    images = len(distilled.labels)
    return _TEMPLATE.format(
        method=settings["method"],
        size=next((name for limit, name in _SIZES if images < limit), "100K<n<1M"),
        dataset=distilled.dataset.get("name", "a data set"),
        train_size=distilled.dataset.get("train_size", "?"),
        images=images,
        per_class=_per_class(distilled),
        classes=len(distilled.class_names),
        shape="x".join(map(str, distilled.images.shape[1:])),
        made=_made(distilled),
        labels=_labels(distilled),
        version=distilled.record.get("atom_distill", "?"),
        grid=GRID_FILE,
        scores=scores_table(distilled.scores) or "Not evaluated yet: `atom evaluate` adds its scores here.",
        preprocess=distilled.preprocessing.kind,
    )


def _per_class(distilled: DistilledDataset) -> str:
    counts = distilled.per_class
    return (
        f"{int(counts.min())} to {int(counts.max())} per class"
        if distilled.ipc is None
        else f"{distilled.ipc} per class"
    )


def _made(distilled: DistilledDataset) -> str:
    method, imported = distilled.settings["method"], distilled.record.get("imported")
    if imported is None:
        return f"made by {method} in {distilled.steps} steps"
    by = "" if method == IMPORTED else f"made by {method}, "
    return f"{by}imported from {', '.join(imported['files'])} ({imported['format']})"


def _labels(distilled: DistilledDataset) -> str:
    if distilled.soft_labels is None:
        return "labels [N] int64"
    return "labels [N] int64 for sorting, soft_labels [N, K] float32 (probabilities) to train on"


def scores_table(scores: Sequence[Score]) -> str:
    """Write scores as Markdown tables, one for each protocol, or nothing where there are none."""
    parts = []
    for protocol in dict.fromkeys(score.protocol.name for score in scores):
        mine = [_row(score) for score in scores if score.protocol.name == protocol]
        parts += [
            f"Protocol `{protocol}`, test accuracy in percent, mean and standard deviation over networks:",
            "",
            markdown.table(("trained on", "network", "images", "accuracy", "networks", "precision"), mine),
            "",
        ]
    return "\n".join(parts)


def _row(score: Score) -> list[str]:
    """Write a score as a row of its protocol's table."""
    norm = f" ({score.shape['norm']} norm)" if score.shape.get("norm") else ""
    told = [score.subject, *(["best"] if score.which == "best" else [])]
    return [
        ", ".join([*told, *(["soft labels"] if score.labels == "soft" else [])]),
        f"{score.arch}{norm}",
        str(score.images),
        f"{score.mean:.1f} +- {score.std:.1f}",
        str(len(score.runs)),
        score.precision,
    ]

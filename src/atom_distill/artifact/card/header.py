"""The YAML at the top of a card: how the hub indexes a set, and where its viewer finds the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atom_distill.artifact.card.content import CardContent

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def header(content: CardContent, files: Mapping[str, Any]) -> str:
    """Return the YAML front matter, between its two lines of dashes.

    Args:
        content: of the card.
        files: which files of the folder are the data: `configs` and, where the loader cannot infer it, `dataset_info`,
            as the `datasets` library reads them.
    """
    from huggingface_hub import DatasetCardData

    facts = DatasetCardData(
        pretty_name=content.title,
        license=content.source.license,
        task_categories=["image-classification"],
        annotations_creators=["machine-generated"],
        size_categories=[next((name for limit, name in _SIZES if content.images < limit), "100K<n<1M")],
        source_datasets=[content.source.listed],
        tags=["dataset-distillation", "dataset-condensation", *_synthetic(content), content.method],
        **files,
    )
    return f"---\n{facts.to_yaml()}\n---\n"


def _synthetic(content: CardContent) -> list[str]:
    return [] if content.is_selection else ["synthetic"]


def data_files(path: str | Sequence[str], features: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return the header's entry for the images, as one training split.

    Args:
        path: of the files, relative to the card; a pattern, or several.
        features: what they hold, where the loader cannot infer it (see `features`).
    """
    config: dict[str, Any] = {"config_name": "default", "data_files": [{"split": "train", "path": path}]}
    return {"configs": [config if features is None else {**config, "features": list(features)}]}


def features(content: CardContent) -> list[dict[str, Any]]:
    """Return the columns image, label and, if any, soft_label, as the `datasets` library writes them."""
    names = {str(index): name for index, name in enumerate(content.class_names)}
    soft = [{"name": "soft_label", "list": "float32"}] if content.has_soft_labels else []
    return [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        *soft,
    ]

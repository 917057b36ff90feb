"""The YAML at the top of a card: what the hub indexes a set by, and where its viewer finds the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atom_distill.artifact.origins import METHODS, origin_of

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def header(distilled: DistilledDataset, files: Mapping[str, Any]) -> str:
    """Write the front matter, with its two rules.

    Args:
        distilled: the set.
        files: which files of the folder are the data: `configs` and, where the loader cannot know them, `dataset_info`,
            as the `datasets` library reads them.
    """
    from huggingface_hub import DatasetCardData

    source, images = origin_of(distilled.dataset), len(distilled)
    facts = DatasetCardData(
        pretty_name=title(distilled),
        license=source.license,
        task_categories=["image-classification"],
        annotations_creators=["machine-generated"],
        size_categories=[next((name for limit, name in _SIZES if images < limit), "100K<n<1M")],
        source_datasets=[source.listed],
        tags=["dataset-distillation", "dataset-condensation", "synthetic", str(distilled.settings["method"])],
        **files,
    )
    return f"---\n{facts.to_yaml()}\n---\n"


def title(distilled: DistilledDataset) -> str:
    """Name a set for people: of what, how many images, by whom."""
    method = str(distilled.settings["method"])
    by, _ = METHODS.get(method, (method, ""))
    images = f"{len(distilled)} image{'' if len(distilled) == 1 else 's'}"
    return f"{origin_of(distilled.dataset).title}, distilled to {images} ({by})"


def data_files(path: str | Sequence[str], features: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Say where the images are, as one training split.

    Args:
        path: of the files, relative to the card; a pattern, or several.
        features: what they hold, where the loader is to be told (see `features`).
    """
    config: dict[str, Any] = {"config_name": "default", "data_files": [{"split": "train", "path": path}]}
    return {"configs": [{**config, **({} if features is None else {"features": list(features)})}]}


def features(distilled: DistilledDataset) -> list[dict[str, Any]]:
    """Describe pictures and named labels, and soft labels where there are any, as the `datasets` library writes it."""
    names = {str(index): name for index, name in enumerate(distilled.class_names)}
    soft = [] if distilled.soft_labels is None else [{"name": "soft_label", "list": "float32"}]
    return [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
        *soft,
    ]

"""The folder that is laid out for the hub: pictures for its viewer and for any tool, and the tensors of the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atom_distill.artifact import folder as files
from atom_distill.artifact.card import Layout, labels_held
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import save_scores
from atom_distill.exporting import card_text, examples
from atom_distill.exporting.clipping import clipping_of
from atom_distill.exporting.tables import columns_held, table_data, write_card, write_table

DATA_FILE = "data/train-00000-of-00001.parquet"
RUN_FOLDER = "run"


def write_hub_folder(distilled: DistilledDataset, folder: Path) -> None:
    """Write `data/*.parquet`, `run/` that `DistilledDataset.load` reads, and the card."""
    (folder / DATA_FILE).parent.mkdir()
    write_table(distilled, folder / DATA_FILE)
    _write_run(distilled, folder / RUN_FOLDER)
    write_card(distilled, folder, hub_layout(distilled))


def hub_layout(distilled: DistilledDataset, repository: str | None = None) -> Layout:
    """Describe the folder.

    Args:
        distilled: the set.
        repository: USER/NAME where it lies on the hub; None for a folder on disk.
    """
    run = f'"{card_text.HERE}/{RUN_FOLDER}"'
    if repository is not None:
        run = f'huggingface_hub.snapshot_download("{repository}", repo_type="dataset") + "/{RUN_FOLDER}"'
    use = card_text.HUB_USE.format(
        example=examples.hub(distilled, repository or card_text.HERE),
        clipping=clipping_of(distilled),
        run=run,
        more="" if repository is None else "import huggingface_hub\n",
        preprocess=distilled.preprocessing.kind,
    )
    return Layout(
        table_data(distilled, "data/train-*"),
        use,
        [
            ("data/", columns_held(distilled)),
            (
                f"{RUN_FOLDER}/distilled.safetensors",
                f"images [N, C, H, W] float32 in model space, {labels_held(distilled)}",
            ),
            (f"{RUN_FOLDER}/preprocessing.safetensors", "the transform between pixels and model space"),
            (f"{RUN_FOLDER}/config.yaml", "every setting, the data set, versions, seed"),
            (f"{RUN_FOLDER}/metrics.jsonl", "the loss by step"),
            (f"{RUN_FOLDER}/scores.json", "every evaluation with its protocol"),
        ],
    )


def _write_run(distilled: DistilledDataset, folder: Path) -> None:
    """Write what loads and evaluates as a run; the set that is exported is its last one, whichever it was."""
    folder.mkdir()
    files.save_values(folder, distilled.values())
    files.save_preprocessing(folder, distilled.preprocessing)
    record = {**distilled.record}
    if "command" in record:
        record["command"] = shlex.join(_without_folders(word) for word in shlex.split(str(record["command"])))
    files.save_config(folder, settings=distilled.settings, dataset=_public(distilled.dataset), record=record)
    files.save_history(folder, distilled.history)
    save_scores(folder, distilled.scores)


def _public(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of paths on this machine all but their last part: the folder is made to be shown to others."""
    return {
        name: _public(value)
        if isinstance(value, Mapping)
        else _without_folders(value)
        if isinstance(value, str)
        else value
        for name, value in facts.items()
    }


def _without_folders(text: str) -> str:
    return Path(text).name if Path(text).is_absolute() else text

"""Export as a folder laid out for the Hugging Face hub: a table for its viewer, and the run itself."""

from __future__ import annotations

from pathlib import Path

from atom_distill.artifact import folder as files
from atom_distill.artifact.card.layout import Layout, decoder_text, run_files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score, save_scores
from atom_distill.exporting import examples, usage_text
from atom_distill.exporting.clipping import clipping_of
from atom_distill.exporting.parquet_table import table_columns, table_data, write_table
from atom_distill.exporting.private_paths import command_without_folders, without_folders
from atom_distill.exporting.write_card import write_card

DATA_FILE = "data/train-00000-of-00001.parquet"
RUN_FOLDER = "run"
TENSOR_FILE = "distilled.safetensors"


def write_hub_folder(distilled: DistilledDataset, folder: Path) -> None:
    """Write `data/*.parquet`, `run/` for `DistilledDataset.load`, and the card."""
    (folder / DATA_FILE).parent.mkdir()
    write_table(distilled, folder / DATA_FILE)
    (folder / RUN_FOLDER).mkdir()
    write_run(distilled, folder / RUN_FOLDER)
    write_card(distilled, folder, hub_layout(distilled))


def hub_layout(distilled: DistilledDataset, repository: str | None = None) -> Layout:
    """Return the layout of the folder.

    Args:
        distilled: the set.
        repository: USER/NAME on the hub; None for a folder on disk.
    """
    content = distilled.card_content()
    run = f'"{usage_text.HERE}/{RUN_FOLDER}"'
    if repository is not None:
        run = f'huggingface_hub.snapshot_download("{repository}", repo_type="dataset") + "/{RUN_FOLDER}"'
    use = usage_text.HUB_USE.format(
        example=examples.hub(content, repository or usage_text.HERE),
        clipping=clipping_of(distilled),
        run=run,
        more="" if repository is None else "import huggingface_hub\n",
        preprocess=content.preprocess,
    ) + decoder_text(content, f"{RUN_FOLDER}/{TENSOR_FILE}")
    of_run = [(f"{RUN_FOLDER}/{name}", what) for name, what in run_files(content)]
    return Layout(table_data(content, "data/train-*"), use, [("data/", table_columns(content)), *of_run])


def write_run(distilled: DistilledDataset, folder: Path) -> None:
    """Write a run that loads and evaluates; the exported set becomes its last one, even if it was the best."""
    files.save_values(folder, distilled.values())
    files.save_preprocessing(folder, distilled.preprocessing)
    public = without_folders({"settings": distilled.settings, "dataset": distilled.dataset, "record": distilled.record})
    if "command" in distilled.record:
        public["record"]["command"] = command_without_folders(str(distilled.record["command"]))
    files.save_config(folder, **public)
    files.save_history(folder, distilled.history)
    save_scores(folder, [score.model_copy(update={"which": "last"}) for score in own_scores(distilled)])


def own_scores(distilled: DistilledDataset) -> list[Score]:
    """Return the scores of a set without those of the other set of its run, the last or the best one."""
    return [score for score in distilled.scores if score.subject != "distilled" or score.which == distilled.which]

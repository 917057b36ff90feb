"""Cards as the hub and the `datasets` library read them."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from atom_distill.artifact.origins import origin_of
from atom_distill.artifact.scores import Score, load_scores
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.exporting.clipping import Clipping
from atom_distill.exporting.export_distilled import export_distilled

WITH_IMAGES = ["run", "parquet", "imagefolder", "hf"]
FOLDERS = [*WITH_IMAGES, "safetensors"]
# https://huggingface.co/docs/hub/repositories-licenses, those that can occur
LICENSES = {"unknown", "other", "mit", "cc-by-4.0"}
DECLARED = {
    *("annotations_creators", "configs", "dataset_info", "license", "pretty_name", "size_categories"),
    *("source_datasets", "tags", "task_categories"),
}


@pytest.fixture(params=FOLDERS)
def folder(request, tmp_path, data, distill) -> Path:
    """A run's folder and every export that is one, of a scored set."""
    tiny = distill(data, soft=request.param == "parquet", scores=[score(runs=(50.0, 52.0))])
    if request.param == "run":
        tiny.save(tmp_path / "set")
    else:
        export_distilled(tiny, request.param, tmp_path / "set")
    return tmp_path / "set"


def score(**changes) -> Score:
    facts = {"subject": "distilled", "dataset": "toy", "preprocess": "zca", "steps": 3, "images": 10, "ipc": 2}
    facts |= {"arch": "convnet", "shape": {}, "protocol": PROTOCOLS.get("dm"), "seed": 0, "seconds": 1.5}
    return Score(**{**facts, **changes})


@pytest.mark.parametrize(("which", "kept", "left"), [("best", 61.0, 52.0), ("last", 52.0, 61.0)])
@pytest.mark.parametrize("form", ["safetensors", "hf"])
def test_of_two_sets_of_a_run_the_scores_of_the_exported_one_are_kept(form, which, kept, left, tmp_path, data, distill):
    both = [score(runs=(52.0,)), score(runs=(61.0,), which="best"), score(runs=(20.0,), subject="random")]
    export_distilled(distill(data, scores=both, which=which), form, tmp_path / "set")
    run = tmp_path / "set" / ("run" if form == "hf" else "")
    assert [(found.which, found.mean) for found in load_scores(run)] == [("last", kept), ("last", 20.0)]
    card = (tmp_path / "set" / "README.md").read_text()
    assert f"{kept:.1f}" in card
    assert f"{left:.1f}" not in card


def test_the_header_is_valid(folder):
    from datasets.utils.metadata import known_task_ids

    card = DatasetCard.load(folder / "README.md", ignore_metadata_errors=False)
    facts = card.data.to_dict()
    assert set(facts) <= DECLARED
    assert facts["license"] in LICENSES
    sizes = json.loads(files("datasets.utils.resources").joinpath("size_categories.json").read_text())
    assert set(facts["size_categories"]) <= set(sizes)
    assert set(facts["task_categories"]) <= set(known_task_ids)
    creators = json.loads(files("datasets.utils.resources").joinpath("creators.json").read_text())
    assert set(facts["annotations_creators"]) <= set(creators["annotations"])
    assert facts["pretty_name"] == "toy, distilled to 10 images (ATOM)"
    assert all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in facts["tags"])
    assert {"dataset-distillation", "atom"} <= set(facts["tags"])


@pytest.mark.parametrize("folder", WITH_IMAGES, indirect=True)
def test_the_viewer_finds_the_data(folder):
    """As `load_dataset` does it, from the header alone."""
    import datasets
    from datasets.utils.metadata import MetadataConfigs

    card = DatasetCard.load(folder / "README.md")
    (config,) = MetadataConfigs.from_dataset_card_data(card.data).values()
    (split,) = config["data_files"]
    patterns = split["path"] if isinstance(split["path"], list) else [split["path"]]
    assert all(any(folder.glob(pattern)) for pattern in patterns)
    table = datasets.load_dataset(str(folder))
    assert list(table) == ["train"]
    assert len(table["train"]) == 10
    assert len(table["train"].features["label"].names) == 5


def test_a_reader_finds_what_a_card_is_for(folder):
    text = DatasetCard.load(folder / "README.md").text
    for heading in ("Scores", "Use", "How it was made", "Intended use", "Limits", "License"):
        assert f"\n## {heading}\n" in text
    assert "| distilled | convnet | 10 | 51.0 +- 1.4 | 2 |" in text
    assert "Protocol `dm`" in text
    assert "https://arxiv.org/abs/2405.01373" in text
    assert "No anonymization" in text
    assert "Its license is not known" in text
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (folder / name).is_file()
    for name in re.findall(r"^\| `([\w./-]+)` \|", text, re.M):
        assert "." not in name or (folder / name).exists(), name
    assert not re.search(r"\{\w+\}", text)  # nothing was left to fill in


def test_a_set_without_a_record_of_its_method_has_its_name_and_no_paper(tmp_path, data, distill):
    distill(data, record={"atom_distill": "0.1.0"}).save(tmp_path / "old")
    text = (tmp_path / "old" / "README.md").read_text("utf-8")
    assert "# toy, distilled to 10 images (atom)" in text
    assert "arxiv.org" not in text


@pytest.mark.parametrize(
    ("form", "place"),
    [(form, "path/to/this/folder") for form in ("parquet", "imagefolder", "hf")] + [("safetensors", ".")],
)
def test_a_card_shows_the_example(tmp_path, data, distill, form, place):
    export = export_distilled(distill(data), form, tmp_path / "set")
    text = (export.path / "README.md").read_text("utf-8")
    assert export.example.replace(str(tmp_path / "set"), place) in text


@pytest.mark.parametrize("rate", [True, False])
def test_a_table_has_the_learning_rate_beside_it(tmp_path, data, distill, rate):
    tiny = distill(data)
    tiny.settings |= {"network_lr": 0.03} if rate else {}
    folder = export_distilled(tiny, "parquet", tmp_path / "set").path
    assert ("`lr`, the learning rate" in (folder / "README.md").read_text("utf-8")) == rate


@pytest.mark.parametrize(
    ("share", "told"), [(0.0, "every value fits"), (0.0004, "less than 0.1 % of the"), (0.256, "25.6 % of the values")]
)
def test_what_pictures_clip_is_told(share, told):
    assert str(Clipping(share, -0.1, 1.1)).startswith(told)


def test_origins_are_of_named_sets_only():
    named = origin_of({"name": "cifar10", "request": {"name_or_path": "cifar10"}})
    assert (named.title, named.listed, named.license) == ("CIFAR-10", "uoft-cs/cifar10", "unknown")
    for stranger in ({"name_or_path": "/home/jane/cifar10"}, {}):
        own = origin_of({"name": "cifar10", "request": stranger})
        assert (own.title, own.homepage, own.license) == ("cifar10", None, "unknown")


def test_origins_are_known_of_all_named_sets():
    from atom_distill.data.sources.named import SOURCES

    for name in SOURCES:
        assert origin_of({"name": name, "request": {"name_or_path": name}}).homepage

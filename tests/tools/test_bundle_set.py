"""Putting a run into the package: what goes in, what stays out, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import load_config, save_config
from atom_distill.base.errors import ArtifactError, ConfigError
from bundle_set import bundle, main
from tools.test_frontier import made, score


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = made(tmp_path / "run", score(), command=f"atom distill toy --out {tmp_path}/run")
    config = load_config(folder)
    config["dataset"]["request"] = {"name_or_path": f"{tmp_path}/photos"}
    save_config(folder, **config)
    return folder


def test_the_set_is_the_run_without_what_only_the_run_needs(run, tmp_path):
    folder = bundle(run, "toy-400", tmp_path / "sets")
    assert folder == tmp_path / "sets" / "toy-400"
    names = {path.name for path in folder.iterdir()}
    tensors = {"distilled.safetensors", "preprocessing.safetensors"}
    assert names == tensors | {"config.yaml", "scores.json", "README.md", "grid.png"}
    tiny, original = DistilledDataset.load(folder), DistilledDataset.load(run)
    assert torch.equal(tiny.images, original.images)
    assert tiny.scores == original.scores
    card = (folder / "README.md").read_text("utf-8")
    assert 'load_distilled("toy-400")' in card
    assert "metrics.jsonl" not in card
    with Image.open(folder / "grid.png") as picture:
        assert picture.mode == "P"


def test_paths_are_cut(run, tmp_path):
    folder = bundle(run, "toy-400", tmp_path / "sets")
    config = load_config(folder)
    assert config["record"]["command"] == "atom distill toy --out runs/toy-400"
    assert config["dataset"]["request"] == {"name_or_path": "photos"}
    texts = [path.read_text("utf-8") for path in folder.iterdir() if path.suffix in (".md", ".yaml", ".json")]
    assert len(texts) == 3
    assert str(tmp_path) not in "".join(texts)


def test_only_the_scores_of_the_set_go_along(run, tmp_path):
    DistilledDataset.load(run).add_score(score(which="best", runs=(99.0,)))
    DistilledDataset.load(run).add_score(score(subject="random", runs=(1.0,)))
    tiny = DistilledDataset.load(bundle(run, "toy-400", tmp_path / "sets"))
    assert 99.0 not in [found.mean for found in tiny.scores]
    assert [found.which for found in tiny.scores] == ["last", "last"]


def test_a_second_time_replaces_the_first(run, tmp_path):
    bundle(run, "toy-400", tmp_path / "sets")
    DistilledDataset.load(run).add_score(score(seed=1))
    folder = bundle(run, "toy-400", tmp_path / "sets")
    assert len(json.loads((folder / "scores.json").read_text())) == 2
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["toy-400"]


def test_what_is_refused(run, tmp_path, capsys):
    for name in ("toy", "Toy-400", "../toy-400", "toy-400-", "-400"):
        with pytest.raises(ConfigError, match="data set and its bytes per class"):
            bundle(run, name, tmp_path / "sets")
    (run / "scores.json").unlink()
    with pytest.raises(ArtifactError, match="has no scores"):
        bundle(run, "toy-400", tmp_path / "sets")
    assert not (tmp_path / "sets").exists()
    assert main([str(tmp_path), "toy-400"]) == 2
    assert "is not a run folder" in capsys.readouterr().err

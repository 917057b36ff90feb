"""What is read of runs that are whole, stopped, damaged, or no runs at all; and that what is missing is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from atom_distill.artifact import folder as files
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.pictures import fit_contrast
from atom_distill.base.errors import ArtifactError, ConfigError, DataError
from atom_distill.distillation.run_state import load_newest_checkpoint, save_checkpoint
from atom_distill.report.comparison import comparison
from atom_distill.report.gallery import gallery
from atom_distill.report.network_analysis import Analyzer
from atom_distill.report.reading import RunView, read_run
from atom_distill.report.real_images import RealDatasets

HEADS = {
    "config.yaml": "Settings",
    "distilled.safetensors": "Distilled images",
    "preprocessing.safetensors": "Preprocessing",
    "snapshots.safetensors": "Evolution",
    "scores.json": "Scores",
}
"""Files and the first words of the sentences on what is missing."""


def test_the_ipc_is_known_where_the_classes_of_the_images_are_not(copied):
    folder = copied("atom")
    for path in [*folder.glob("*distilled*.safetensors"), *folder.glob("checkpoint-*"), *folder.glob("prep*")]:
        path.unlink()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"]["request"] = {"name_or_path": str(folder / "moved")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    view = read_run(folder, RealDatasets())
    assert len(view.per_class) == 1
    assert any("restore the folder" in line for line in view.missing)
    (row,) = comparison([view]).rows
    assert row[3].text == str(config["settings"]["ipc"])


def heads(view: RunView) -> set[str]:
    return {line.split(":")[0] for line in view.missing}


def test_a_whole_run_lacks_nothing(made):
    view, stored = read_run(made / "atom", RealDatasets()), DistilledDataset.load(made / "atom")
    assert view.missing == []
    assert view.finished
    assert torch.equal(view.images, stored.images)
    assert torch.equal(view.pictures, fit_contrast(stored.preprocessing.invert(stored.images)))
    assert (view.name, view.method, view.steps) == ("atom", "atom", 12)
    assert [entry["step"] for entry in view.history] == list(range(1, 13))
    assert len(view.scores) == 3
    assert view.real.name == "digits"
    assert view.per_class.tolist() == [2] * 10


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"\xff\x00 {nonsense"]
)
def test_a_damaged_file_costs_what_it_held_and_no_more(copied, name, damage):
    folder = copied("atom")
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    view = read_run(folder, RealDatasets())
    assert HEADS[name] in heads(view)
    assert any(str(path) in line for line in view.missing)
    assert view.pictures is not None
    assert view.pictures.shape == (20, 1, 8, 8)
    kept = {"Settings": view.settings, "Evolution": view.snapshots, "Scores": view.scores, "Curves": view.history}
    assert all(value for head, value in kept.items() if head != HEADS[name])


def test_a_result_that_cannot_be_decoded_is_named_and_the_checkpoint_shown(copied, monkeypatch):
    folder = copied("atom")

    def fail(*_: object) -> None:
        raise ConfigError("no such parameterization")

    monkeypatch.setattr("atom_distill.report.reading.decoded", fail)
    view = read_run(folder, RealDatasets())
    assert "Distilled images: no such parameterization" in view.missing
    assert view.pictures.shape == (20, 1, 8, 8)


@pytest.mark.parametrize("name", ["distilled.safetensors", "preprocessing.safetensors", "config.yaml", "metrics.jsonl"])
def test_a_file_that_is_gone_is_named_and_the_rest_shown(copied, name):
    folder = copied("atom")
    (folder / name).unlink()
    view = read_run(folder, RealDatasets())
    assert view.missing
    assert view.pictures.shape == (20, 1, 8, 8)


def test_without_the_way_back_the_last_pictures_are_shown(copied):
    folder = copied("atom")
    whole = read_run(folder, RealDatasets())
    (folder / "preprocessing.safetensors").write_bytes(b"")
    view = read_run(folder, RealDatasets())
    assert torch.equal(view.pictures, whole.pictures)
    assert view.images is None
    assert any("pictures taken after step 12" in line for line in view.missing)


def test_a_stopped_run_is_shown_as_of_its_checkpoint(copied):
    folder = copied("atom")
    for name in ("distilled.safetensors", "README.md", "grid.png", "scores.json"):
        (folder / name).unlink()
    view = read_run(folder, RealDatasets())
    assert not view.finished
    assert view.class_names == tuple(map(str, range(10)))
    assert heads(view) == {"Result", "Scores"}
    assert "checkpoint of step 12" in view.missing[0]
    assert "--resume" in view.missing[0]


def test_an_unfinished_run_without_its_data_numbers_its_classes(copied, no_real_images):
    folder = copied("atom")
    (folder / "distilled.safetensors").unlink()
    view = read_run(folder, no_real_images)
    assert view.class_names[:2] == ("class 0", "class 1")
    assert view.per_class.tolist() == [2] * 10
    assert "Real images" in heads(view)


def test_an_unfinished_run_that_says_nothing_of_itself_is_one_heap(copied):
    folder = copied("atom")
    (folder / "distilled.safetensors").unlink()
    (folder / "config.yaml").write_text("[")
    assert read_run(folder, RealDatasets()).per_class.tolist() == [2] * 10  # which the checkpoint knows
    change_checkpoint(folder, None)  # of version 0.1
    view = read_run(folder, RealDatasets())
    assert view.class_names == ("all images",)
    assert len(view.pictures) == 20
    assert "Classes" in heads(view)


def change_checkpoint(folder: Path, images_per_class: torch.Tensor | None) -> None:
    state = load_newest_checkpoint(folder)
    assert state is not None
    save_checkpoint(folder, replace(state, images_per_class=images_per_class))


def test_a_checkpoint_that_has_images_per_class_is_labeled_by_them(copied):
    """As of a run with a budget: what was allocated differs from what the whole data set would give."""
    folder = copied("atom")
    (folder / "distilled.safetensors").unlink()
    uneven = torch.tensor([3, 1, 2, 2, 2, 2, 2, 2, 2, 2])
    change_checkpoint(folder, uneven)
    view = read_run(folder, RealDatasets())
    assert view.per_class.tolist() == uneven.tolist()
    assert view.labels[:4].tolist() == [0, 0, 0, 1]
    assert view.class_names == tuple(map(str, range(10)))
    change_checkpoint(folder, None)  # of an older version: by the settings
    assert read_run(folder, RealDatasets()).per_class.tolist() == [2] * 10
    change_checkpoint(folder, uneven[1:])  # of other images
    view = read_run(folder, RealDatasets())
    assert view.class_names == ("all images",)
    assert "Classes" in heads(view)


def test_without_the_data_set_a_checkpoint_has_its_classes_still(copied, no_real_images):
    folder = copied("atom")
    (folder / "distilled.safetensors").unlink()
    change_checkpoint(folder, torch.tensor([15, 5]))
    view = read_run(folder, no_real_images)
    assert view.per_class.tolist() == [15, 5]
    assert view.class_names == ("class 0", "class 1")


def test_lines_cut_short_are_counted(copied):
    folder = copied("atom")
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines()
    lines[3] = json.dumps({"step": 4, "loss": "much"})
    metrics.write_text("\n".join([*lines, '{"step": 13, "lo']))
    view = read_run(folder, RealDatasets())
    assert [entry["step"] for entry in view.history] == [1, 2, 3, *range(5, 13)]
    assert any(line.startswith("Curves: 2 of 13 lines") for line in view.missing)


def test_lines_written_while_they_are_read_are_not_called_damaged(copied, monkeypatch):
    folder, real = copied("atom"), files.load_history

    def meanwhile(where):
        found = real(where)
        with (where / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 13, "loss": 1.0}) + "\n")
        return found

    monkeypatch.setattr(files, "load_history", meanwhile)
    assert "Curves" not in heads(read_run(folder, RealDatasets()))


def test_the_real_images_are_loaded_as_they_were(tmp_path):
    request = {"name_or_path": "digits", "image_size": 16, "classes": ["1", "7"], "test_fraction": 0.25}
    view = RunView(tmp_path, dataset={"request": request})
    assert view.loading_real == "ad.load_dataset(\"digits\", image_size=16, classes=['1', '7'], test_fraction=0.25)"
    assert RunView(tmp_path, dataset={"request": {}}).loading_real == ""


def test_a_selection_lacks_no_loss(made):
    view = read_run(made / "random", RealDatasets())
    assert heads(view) == {"Scores"}
    assert not view.is_optimized


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_what_is_no_run_is_refused(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "it")
    with pytest.raises(ArtifactError, match=r"it is (neither a folder|not a run folder)"):
        read_run(tmp_path / "it", RealDatasets())


def test_nothing_but_settings_is_a_run_that_begins(copied):
    folder = copied("atom")
    for path in folder.iterdir():
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    view = read_run(folder, RealDatasets())
    assert view.pictures is None
    assert {"Images", "Preprocessing", "Curves", "Scores"} <= heads(view)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({}, "made in memory"),
        ({"request": {"name_or_path": "cifar10"}}, "cifar10 is neither in the cache nor on this disk"),
        ({"request": {"name_or_path": "/nowhere/at/all"}}, "nowhere/at/all is neither"),
        ({"request": {"name_or_path": "digits"}, "fingerprint": "another"}, "digits.* is not the data set"),
    ],
)
def test_real_images_are_never_fetched(monkeypatch, described, message):
    def fetch(*_: object) -> None:
        raise AssertionError("it went to the network")

    monkeypatch.setattr("atom_distill.data.sources.hugging_face.fetch", fetch)
    with pytest.raises(DataError, match=message):
        RealDatasets()(described)


def test_a_set_is_loaded_once(monkeypatch, made):
    sets, loads = RealDatasets(), []
    described = read_run(made / "atom", sets).dataset
    monkeypatch.setattr("atom_distill.report.real_images.load_dataset", lambda **request: loads.append(request))
    assert sets(described) is sets(described)
    assert loads == []


def test_others_sets_come_in_any_order_and_have_no_history(made, tmp_path):
    own = DistilledDataset.load(made / "atom")
    mixed = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    record = {"imported": {"files": ["theirs.pt"], "format": "a pair"}}
    images = {"images": own.images[mixed]}
    other = replace(own, stored=images, row_labels=own.labels[mixed], record=record, history=(), best=None)
    other = replace(other, settings={"method": "imported", "ipc": 2}, scores=[], steps=0, folder=None)
    other.save(tmp_path / "theirs")
    view = read_run(tmp_path / "theirs", RealDatasets())
    assert view.labels.tolist() == sorted(own.labels.tolist())
    assert {image.numpy().tobytes() for image in view.images[:2]} == {
        image.numpy().tobytes() for image in own.images[:2]
    }
    assert heads(view) == {"Scores"}
    shown = gallery(view, Analyzer(), count=20)
    assert shown.frames is None
    assert len(shown.layers) == 3
    assert heads(view) == {"Scores", "Evolution"}

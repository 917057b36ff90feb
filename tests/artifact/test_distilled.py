"""The folder of a distilled set: what goes in comes out, with its scores and its card."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open

from artifact.scores_made_up import score
from artifact.sets import NAMES, distilled
from atom_distill.artifact.card.render_card import render_card
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import is_finished
from atom_distill.artifact.scores import load_scores
from atom_distill.base.errors import ArtifactError, ConfigError, ShapeError
from distillation.toys import go


@pytest.mark.parametrize("kind", ["normalize", "zca"])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8)])
def test_a_round_trip_loses_nothing(tmp_path, kind, shape):
    tiny, _ = distilled(kind, shape=shape, scores=[score(), score(subject="random")])
    tiny.save(tmp_path / "saved")
    loaded = DistilledDataset.load(tmp_path / "saved")
    assert torch.equal(loaded.images, tiny.images)
    assert torch.equal(loaded.labels, tiny.labels)
    for name in ("class_names", "settings", "dataset", "record", "history", "scores", "steps", "which"):
        assert getattr(loaded, name) == getattr(tiny, name), name
    assert loaded.preprocessing.kind == kind
    for name, tensor in tiny.preprocessing.tensors().items():
        assert torch.equal(loaded.preprocessing.tensors()[name], tensor)
    assert torch.equal(loaded.pixels(), tiny.pixels())
    assert (loaded.ipc, len(loaded), loaded.folder) == (2, 6, tmp_path / "saved")


@pytest.mark.parametrize("kind", ["normalize", "zca"])
def test_pixels_of_real_images_are_those_images(kind):
    tiny, pixels = distilled(kind)
    assert tiny.pixels().dtype == torch.uint8
    assert int((tiny.pixels().int() - pixels.int()).abs().max()) <= 1


def test_soft_labels_are_kept_and_given_to_train_on(tmp_path):
    hard, _ = distilled()
    assert torch.equal(hard.targets, hard.labels)
    tiny, _ = distilled(soft_labels=torch.rand(6, 3).softmax(1))
    tiny.save(tmp_path / "saved")
    loaded = DistilledDataset.load(tmp_path / "saved")
    assert torch.equal(loaded.soft_labels, tiny.soft_labels)
    assert torch.equal(loaded.labels, tiny.labels)
    assert torch.equal(loaded.targets, loaded.soft_labels)
    assert torch.equal(loaded.to_torch()[4][1], tiny.soft_labels[4])
    with pytest.raises(ShapeError, match=r"soft labels must be of shape \(6, 3\), got \(6, 4\)"):
        distilled(soft_labels=torch.zeros(6, 4))


def test_soft_labels_take_two_bytes_where_these_hold_them(tmp_path):
    exact, rounded = torch.rand(6, 3).softmax(1), torch.rand(6, 3).softmax(1).half().float()
    for name, labels, kind, size in (("exact", exact, "F32", 72), ("rounded", rounded, "F16", 36)):
        tiny, _ = distilled(soft_labels=labels)
        tiny.save(tmp_path / name)
        loaded = DistilledDataset.load(tmp_path / name)
        assert torch.equal(loaded.soft_labels, labels)
        assert loaded.soft_label_bytes == tiny.soft_label_bytes == size
        with safe_open(tmp_path / name / "distilled.safetensors", "pt") as file:
            assert file.get_slice("soft_labels").get_dtype() == kind
        assert f"(probabilities, {size} bytes) to train on" in (tmp_path / name / "README.md").read_text()
    assert distilled()[0].soft_label_bytes == 0


@pytest.mark.parametrize(
    ("settings", "per_stored"),
    [({"ipc": 2}, 1), ({"ipc": 1}, 2), ({"budget": 6}, 1), ({"budget": 4}, 1.5), ({}, 1), ({"budget": None}, 1)],
)
def test_images_per_stored_image_of_the_size_asked_for(settings, per_stored):
    assert distilled(settings={"method": "atom", **settings})[0].images_per_stored == per_stored


def test_pixels_outside_the_range_are_clipped_and_not_wrapped():
    tiny, _ = distilled(images=100 * distilled()[0].images)
    assert {0, 255} <= set(tiny.pixels().unique().tolist())
    assert bool(((tiny.pixels() > 127) == (tiny.preprocessing.invert(tiny.images) > 0.5)).all())


def test_as_a_pytorch_dataset():
    tiny, _ = distilled()
    data = tiny.to_torch()
    assert len(data) == 6
    image, label = data[3]
    assert torch.equal(image, tiny.images[3])
    assert int(label) == 1


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8)])
def test_as_a_hugging_face_dataset(shape):
    tiny, _ = distilled(shape=shape)
    table = tiny.to_hf()
    assert table.features["label"].names == list(NAMES)
    assert table["label"] == [0, 0, 1, 1, 2, 2]
    array = np.asarray(table[4]["image"])
    assert np.array_equal(array.reshape(8, 8, shape[0]), tiny.pixels()[4].permute(1, 2, 0).numpy())


def test_a_png_for_every_image(folder):
    tiny = DistilledDataset.load(folder)
    files = sorted(path.relative_to(folder / "images").as_posix() for path in folder.glob("images/*/*"))
    assert files == [f"{name}/000{i}.png" for name in ("cat", "dog", "sea_lion") for i in range(2)]
    for index, name in enumerate(files):
        array = np.asarray(Image.open(folder / "images" / name))
        assert np.array_equal(array, tiny.pixels()[index].permute(1, 2, 0).numpy())


def test_the_last_and_the_best_are_kept_apart(folder):
    assert DistilledDataset.load(folder, which="best").steps == 1
    assert DistilledDataset.load(folder).steps == 2
    (folder / "distilled-best.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"has no best set: .*eval.every"):
        DistilledDataset.load(folder, which="best")


def test_saving_brings_the_best_set_along_and_is_not_for_it_alone(folder, tmp_path):
    last, best = DistilledDataset.load(folder), DistilledDataset.load(folder, which="best")
    last.save(tmp_path / "copy")
    copied = DistilledDataset.load(tmp_path / "copy")
    assert (copied.best.steps, copied.best.which, copied.scores) == (1, "best", last.scores)
    assert torch.equal(copied.best.images, best.images)
    with pytest.raises(ArtifactError, match="the best set of a run is saved with the last one"):
        best.save(tmp_path / "alone")
    assert not (tmp_path / "alone").exists()
    best.head(1).save(tmp_path / "head")
    assert torch.equal(DistilledDataset.load(tmp_path / "head").images, best.head(1).images)


def test_a_damaged_best_set_does_not_keep_the_last_one_from_being_used(folder, capsys):
    path = folder / "distilled-best.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert (DistilledDataset.load(folder).steps, DistilledDataset.load(folder).best) == (2, None)
    assert "the best set is left out: " in capsys.readouterr().err
    with pytest.raises(ArtifactError, match=r"distilled-best.safetensors is truncated or damaged"):
        DistilledDataset.load(folder, which="best")


def test_images_of_a_set_in_another_form_are_refused():
    tiles = go(parameterization="tiles-2", steps=1)
    given = (tiles.images, tiles.labels, tiles.class_names, tiles.preprocessing)
    with pytest.raises(ConfigError, match="stored as they are: leave tiles-2 out of the settings"):
        DistilledDataset.from_images(*given, tiles.settings)
    plain = DistilledDataset.from_images(*given, {"method": "atom"})
    assert torch.equal(plain.images, tiles.images)
    assert torch.equal(plain.per_class, tiles.per_class)


def test_a_folder_in_use_is_refused(folder, tmp_path):
    with pytest.raises(ArtifactError, match="already holds a run"):
        distilled()[0].save(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("...")
    with pytest.raises(ArtifactError, match="is not empty and holds no run"):
        distilled()[0].save(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_equal_sets_are_equal_files(folder, tmp_path):
    DistilledDataset.load(folder).save(tmp_path / "again")
    for name in ("distilled.safetensors", "preprocessing.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("images", "labels"), [((6, 8, 8), (6,)), ((6, 3, 8, 8), (5,)), ((6, 3, 8, 8), (6, 1))], ids=str
)
def test_tensors_of_other_shapes_are_refused(images, labels):
    with pytest.raises(ShapeError, match=r"needs images \[N, C, H, W\] and labels \[N\]"):
        distilled(images=torch.zeros(images), labels=torch.zeros(labels))


def test_scores_are_appended_and_shown(folder):
    tiny, stale = DistilledDataset.load(folder), DistilledDataset.load(folder)
    tiny.add_score(score(subject="random", runs=(20.0, 21.0)))
    stale.add_score(score(arch="resnet18", runs=(33.25,)))  # another process, which has not seen the second
    assert [found.mean for found in load_scores(folder)] == [51.0, 20.5, 33.25]
    assert stale.scores == DistilledDataset.load(folder).scores == load_scores(folder)
    text = (folder / "README.md").read_text()
    for row in (
        "| distilled | convnet | 6 | 51.0 +- 1.4 | 2 |",
        "| random | convnet | 6 | 20.5 +- 0.7 | 2 |",
        "| distilled | resnet18 | 6 | 33.2 | 1 |",
    ):
        assert row in text


def test_a_score_of_more_networks_takes_the_place_of_that_of_the_first(folder):
    tiny = DistilledDataset.load(folder)
    tiny.add_score(score(arch="resnet18", runs=(33.25,)))
    tiny.add_score(score(runs=(50.0, 52.0, 51.0)))
    tiny.add_score(score(runs=(49.0, 52.0)))  # other networks: not the same ones anew
    tiny.add_score(score(runs=(50.0, 52.0)))  # the first two of three that are known
    assert [found.runs for found in load_scores(folder)] == [(50.0, 52.0, 51.0), (33.25,), (49.0, 52.0)]


def test_scoring_the_best_set_leaves_the_card_that_of_the_last(folder):
    best = DistilledDataset.load(folder, which="best")
    best.add_score(score(which="best", steps=1))
    text = (folder / "README.md").read_text()
    assert "in 2 steps" in text
    assert "| distilled, best | convnet |" in text


def test_scoring_another_view_of_a_set_leaves_the_card_that_of_the_folder(tmp_path):
    soft = torch.full((6, 3), 1 / 3)
    distilled(soft_labels=soft)[0].save(tmp_path / "soft")
    replace(DistilledDataset.load(tmp_path / "soft"), soft_labels=None).add_score(score())
    stored = DistilledDataset.load(tmp_path / "soft")
    assert (tmp_path / "soft" / "README.md").read_text() == render_card(stored.card_content())
    assert (stored.card_content().has_soft_labels, len(stored.scores)) == (True, 1)


def test_a_set_in_memory_keeps_its_scores_too():
    tiny, _ = distilled()
    tiny.add_score(score())
    tiny.add_score(score(seed=1))
    assert [found.seed for found in tiny.scores] == [0, 1]


def test_the_card_is_readable_by_people_and_by_the_hub(folder):
    text = (folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["task_categories"] == ["image-classification"]
    assert {"dataset-distillation", "atom"} <= set(facts["tags"])
    assert facts["size_categories"] == ["n<1K"]
    assert "# toy, distilled to 6 images" in body
    assert "2 per class, 3 classes, 3x8x8" in body
    assert "(grid.png)" in body
    assert (folder / "grid.png").exists()
    for name in ("distilled.safetensors", "preprocessing.safetensors", "config.yaml", "metrics.jsonl", "scores.json"):
        assert name in body
        assert (folder / name).exists()


def test_a_card_without_scores_says_how_to_get_them(tmp_path):
    distilled()[0].save(tmp_path / "saved")
    assert "Not evaluated yet: `atom evaluate`" in (tmp_path / "saved" / "README.md").read_text()


def test_a_run_is_finished_when_its_card_is_written(folder):
    assert is_finished(folder, 2)
    assert not is_finished(folder, 3)
    (folder / "README.md").unlink()
    assert not is_finished(folder, 2)


def test_the_best_set_keeps_its_soft_labels(tmp_path):
    soft = torch.full((6, 3), 1 / 3)
    last, _ = distilled()
    last.best, _ = distilled(soft_labels=soft, which="best")
    last.save(tmp_path / "run")
    assert torch.equal(DistilledDataset.load(tmp_path / "run", which="best").soft_labels, soft)
    assert DistilledDataset.load(tmp_path / "run").soft_labels is None


def test_files_of_two_runs_are_refused(tmp_path):
    for name, shape in (("pixels", (3, 8, 8)), ("gray", (1, 8, 8))):
        distilled(shape=shape)[0].save(tmp_path / name)
    shutil.copy(tmp_path / "gray" / "preprocessing.safetensors", tmp_path / "pixels")
    with pytest.raises(ArtifactError, match=r"files of two runs .*preprocessing does not fit its images.*1 channel"):
        DistilledDataset.load(tmp_path / "pixels")
    config = yaml.safe_load((tmp_path / "gray" / "config.yaml").read_text())
    config["settings"]["parameterization"] = "tiles-2"
    (tmp_path / "gray" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ArtifactError, match=r"stored as pixels, and by config\.yaml as tiles-2"):
        DistilledDataset.load(tmp_path / "gray")


@pytest.mark.parametrize(("images", "told"), [(20, "larger"), (1, "smaller")])
def test_the_size_is_told_next_to_that_of_the_real_images(images, told):
    """A class of `images` float32 images, in the place of 27 real ones of a byte a value in three classes."""
    content = distilled(ipc=9)[0].card_content()
    stored = images * 3 * 192 * 4
    size = replace(content, stored_bytes=stored).size
    ratio = max(27 * 192 / stored, stored / (27 * 192))
    assert size.endswith(f", {ratio:.1f} times {told} than the real images")

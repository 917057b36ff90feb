"""What the demo needs of real images: exact pixels, the right images, a baseline that loads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import demo_images
from atom_distill import load_dataset
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.base.cache_folder import cache_root
from atom_distill.data.dataset import ImageDataset
from distillation.toys import toy_dataset
from tools.test_frontier import made, score


def tiles(path, side):
    """Images of a sheet, one after another in a list of lists, for comparison."""
    pixels = np.asarray(Image.open(path))
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    places = [(row * side, column * side) for row in range(rows) for column in range(columns)]
    return [pixels[y : y + side, x : x + side].tolist() for y, x in places]


def as_lists(images):
    return [image.permute(1, 2, 0).tolist() for image in images]


@pytest.fixture
def dataset() -> ImageDataset:
    """Two classes in no order, 3 training and 6 test images of each, no two alike."""
    return toy_dataset((3, 3), test_per_class=6, shape=(3, 4, 4))


def test_sheets_have_exact_pixels_class_after_class(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_images, "TEST_IMAGES", 5)
    monkeypatch.setattr(demo_images, "COLUMNS", 5)
    demo_images.write_sheets(dataset, tmp_path)
    for name, split, count in (("test-10.png", dataset.test, 5), ("train-2.png", dataset.train, 1)):
        found = tiles(tmp_path / name, 4)
        real = [as_lists(split.images[split.labels == label]) for label in (0, 1)]
        assert len(found) == 2 * count
        for place, image in enumerate(found):
            assert image in real[place // count]
            assert found.count(image) == 1


def test_the_same_images_are_drawn_each_time(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_images, "TEST_IMAGES", 3)
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        demo_images.write_sheets(dataset, folder)
    for name in ("test-6.png", "train-2.png"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.slow
def test_the_baseline_is_the_run_without_what_only_the_run_needs(tmp_path):
    run = made(tmp_path / "run", score(), command=f"atom distill toy --out {tmp_path}/run")
    demo_images.write_baseline(run, tmp_path / "baseline")
    names = {path.name for path in (tmp_path / "baseline").iterdir()}
    assert names == {"distilled.safetensors", "preprocessing.safetensors", "config.yaml", "scores.json"}
    assert torch.equal(DistilledDataset.load(tmp_path / "baseline").images, DistilledDataset.load(run).images)
    assert str(tmp_path) not in (tmp_path / "baseline" / "config.yaml").read_text("utf-8")


@pytest.mark.cifar10
def test_the_committed_sheets_are_those_of_the_real_cifar10(tmp_path):
    if not (cache_root() / "cifar10" / "dataset.json").is_file():
        pytest.skip("CIFAR-10 is not in the cache; `atom data cifar10` puts it there")
    demo_images.write_sheets(load_dataset("cifar10"), tmp_path)
    for name in ("test-1000.png", "train-10.png"):
        committed = np.asarray(Image.open(demo_images.FOLDER / name))
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), committed)

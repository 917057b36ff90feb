"""Runs whose data set is somewhere else now: accepted if its contents are the same, wherever they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from atom_distill.base.errors import ConfigError
from atom_distill.cli.main import main
from atom_distill.data.original import request_of

QUICK = "--steps 2 --width 4 --batch-real 4 --compile off --device cpu --preprocess normalize"
SCORED = "--repeats 1 --epochs 1 --device cpu"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set `pets` without a test split, and a run on it that the tests copy."""
    home, random = tmp_path_factory.mktemp("moved"), np.random.default_rng(0)
    for name in ("cat", "dog"):
        (home / "pets" / name).mkdir(parents=True)
        for index in range(6):
            pixels = random.integers(0, 256, (10, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(home / "pets" / name / f"{index}.png")
    line = f"distill {home / 'pets'} --image-size 8 --test-fraction 0.34 --ipc 1 {QUICK} --out {home / 'run'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOM_DATA", str(home / "cache"))
        assert main(line.split()) == 0
    return home


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """The run, its data set moved from the recorded place to `new`."""
    shutil.copytree(made / "pets", tmp_path / "new")
    folder = Path(shutil.copytree(made / "run", tmp_path / "run"))
    config = (folder / "config.yaml").read_text().replace(str(made / "pets"), str(tmp_path / "old"))
    (folder / "config.yaml").write_text(config)
    return folder


@pytest.fixture
def other(tmp_path: Path, run: Path) -> Path:
    """Another set of the same classes: with one image less in each."""
    folder = Path(shutil.copytree(tmp_path / "new", tmp_path / "other"))
    for name in ("cat", "dog"):
        (folder / name / "0.png").unlink()
    return folder


def test_evaluate_takes_the_new_place_with_the_options_of_the_run(atom, refused, run, tmp_path):
    told = refused(f"evaluate {SCORED}", run)
    assert str(tmp_path / "old") in told
    assert "is not there" in told
    assert "--data" in told
    done = atom(f"evaluate {SCORED} --json --data", tmp_path / "new", run)
    assert done.code == 0, done.err
    assert done.json["dataset"] == "pets"  # under the name that other scores of the run have
    assert len(json.loads((run / "scores.json").read_text())) == 1


@pytest.mark.parametrize("command", [f"evaluate {SCORED}", "report", "search --dry-run --sample 1", "watch"])
def test_another_set_is_refused(refused, run, other, command):
    told = refused(f"{command} --data", other, run)
    assert "6 training images, not 8" in told
    assert not (run / "scores.json").exists() or json.loads((run / "scores.json").read_text()) == []


def test_as_many_other_images_are_another_set_too(refused, run, tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "new" / "cat" / "3.png")
    told = refused(f"evaluate {SCORED} --data", tmp_path / "new", run)
    assert "the same number of images and classes, but different ones" in told


def test_the_order_of_images_matters_to_a_resumed_run_alone(atom, refused, made, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(made / "pets", tmp_path / "first" / split)
        for name in ("cat", "dog"):
            (tmp_path / "second" / split / name).mkdir(parents=True)
            for index in range(6):
                source = tmp_path / "first" / split / name / f"{index}.png"
                shutil.copy(source, tmp_path / "second" / split / name / f"{9 - index}.png")
    line = f"distill --image-size 8 --ipc 1 --out {tmp_path / 'run'}"
    assert atom(f"{line} {QUICK}", tmp_path / "first").code == 0
    first = atom(f"evaluate {SCORED} --json", tmp_path / "run").json
    second = atom(f"evaluate {SCORED} --json --data", tmp_path / "second", tmp_path / "run").json
    assert second["runs"] == first["runs"]
    told = refused(f"{line} {QUICK.replace('2', '4', 1)} --resume", tmp_path / "second")
    assert "or in a different order" in told


def test_a_copy_that_is_gone_is_looked_for_elsewhere():
    described = {"request": {"name_or_path": "digits", "data_dir": "a-copy-of-mine", "image_size": 8}}
    assert request_of(described) == {"name_or_path": "digits", "image_size": 8}
    described["request"]["data_dir"] = str(Path(__file__).parent)
    assert request_of(described) == described["request"]


def test_a_set_of_a_library_has_no_other_place(tmp_path):
    with pytest.raises(ConfigError, match="distilled from digits, which is not read from files"):
        request_of({"request": {"name_or_path": "digits"}}, tmp_path)


def test_a_set_that_changed_in_its_place_is_refused(refused, run, other, tmp_path):
    other.rename(tmp_path / "old")
    assert "6 training images, not 8" in refused(f"evaluate {SCORED}", run)


def test_wrong_places_are_refused(refused, run, tmp_path):
    assert "--data" in refused(f"evaluate {SCORED} --data", tmp_path / "nowhere", run)
    assert "--dataset" in refused(f"evaluate {SCORED} --dataset digits --data", tmp_path / "new", run)
    assert "--data" in refused(f"evaluate digits --whole {SCORED} --data", tmp_path / "new")


@pytest.mark.slow
def test_a_report_shows_the_real_images_from_the_new_place(atom, run, tmp_path):
    without = atom("report --json", run).json["missing"][str(run)]
    assert any(line.startswith("Real images: ") and "--data" in line for line in without)
    shown = atom("report --json --data", tmp_path / "new", run).json["missing"][str(run)]
    assert not any(line.startswith("Real images: ") for line in shown)


def test_a_run_is_resumed_from_the_new_place(atom, refused, run, other, tmp_path):
    line = f"distill --image-size 8 --test-fraction 0.34 --ipc 1 --resume --out {run} {QUICK.replace('2', '4', 1)}"
    told = refused(line, other)
    assert "was started on another data set, pets" in told
    assert "6 training images, not 8" in told
    assert atom(line, tmp_path / "new").code == 0
    recorded = yaml.safe_load((run / "config.yaml").read_text())["dataset"]["request"]["name_or_path"]
    assert recorded == str(tmp_path / "new")

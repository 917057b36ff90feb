"""Edges that users have fallen off: each gives one clear line, or just works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

import atom_distill as ad
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.evaluation.evaluate import Evaluation
from distillation.toys import toy_dataset

QUICK = "--steps 2 --width 8 --batch-real 8 --compile off --device cpu --checkpoint-every 1"


@pytest.mark.slow
def test_a_closed_output_is_no_crash(tmp_path):
    line = f"{sys.executable} -m atom_distill data digits --sheet {tmp_path / 'sheet.png'} >&-"
    environment = os.environ | {"ATOM_DATA": str(tmp_path / "cache")}
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_pixel_images_are_refused(atom, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "dots" / label).mkdir(parents=True)
        for index in range(4):
            Image.new("L", (1, 1), 50 * index).save(tmp_path / "dots" / label / f"{index}.png")
    done = atom(f"distill --ipc 1 --test-fraction 0.25 {QUICK} --out {tmp_path / 'run'}", tmp_path / "dots")
    assert done.code == 2
    assert "needs images of at least 2x2, got 1x1" in done.err


def test_a_dead_link_is_an_unreadable_image(atom, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(4):
            Image.new("L", (8, 8), 50 * index).save(tmp_path / "set" / label / f"{index}.png")
    (tmp_path / "set" / "a" / "dead.png").symlink_to(tmp_path / "nowhere.png")
    line = f"data --test-fraction 0.25 --sheet {tmp_path / 'sheet.png'}"
    refused = atom(line, tmp_path / "set")
    assert refused.code == 2
    assert "dead.png cannot be read" in refused.err
    assert atom(f"{line} --skip-unreadable", tmp_path / "set").code == 0


def test_a_lost_result_is_made_again_from_its_checkpoints(atom, tmp_path):
    run = tmp_path / "run"
    assert atom(f"distill digits --ipc 1 {QUICK} --out {run}").code == 0
    before = (run / "distilled.safetensors").read_bytes()
    (run / "distilled.safetensors").unlink()
    assert atom(f"distill digits --ipc 1 {QUICK} --resume --out {run}").code == 0
    assert (run / "distilled.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("data digits --data-dir .", "leave out --data-dir"),
        ("data digits --sheet notes.txt", "give a name that ends in .png"),
        ("evaluate digits --whole --ipc 3", "--ipc is for --random and for the first images"),
        ("distill digits --ipc 1 --image-lr inf", "--image-lr must"),
    ],
)
def test_what_would_be_ignored_or_wrong_is_refused(atom, line, told):
    done = atom(line)
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize("line", ["data ~nobody-of-this-name/set", "data digits --data-dir ~nobody-of-this-name/set"])
def test_the_home_folder_of_nobody_is_no_crash(refused, line):
    assert refused(line)


def test_an_empty_name_is_not_the_working_folder():
    with pytest.raises(ad.AtomError, match="unknown data set ''"):
        ad.load_dataset("")


def test_a_name_in_place_of_a_data_set_is_explained():
    with pytest.raises(ad.AtomError, match="use load_dataset"):
        ad.distill("digits", 1)


def test_a_diverged_network_has_no_score():
    data = toy_dataset((6, 6))
    evaluation = Evaluation(repeats=1, protocol=PROTOCOLS.get("dm").changed(epochs=3, lr=1e30), show_progress=False)
    with pytest.raises(ad.AtomError, match=r"network.* diverged in epoch \d"):
        evaluation.of_random(data, 2, preprocess="normalize")


def test_sets_print_in_a_line():
    data = ad.load_dataset("digits")
    assert repr(data) == "ImageDataset(digits, 1438 train, 359 test, 1x8x8, 10 classes)"
    tiny = ad.DistilledDataset.from_images(
        images=torch.zeros(2, 1, 8, 8),
        labels=torch.arange(2),
        class_names=("a", "b"),
        preprocessing=None,
        settings={"method": "atom"},
        steps=7,
    )
    assert repr(tiny) == "DistilledDataset(2 images 1x8x8, 2 classes, atom, 7 steps)"


def test_a_preset_beside_a_file_of_all_settings_is_refused(refused, tmp_path):
    (tmp_path / "config.yaml").write_text("ipc: 1\n")
    told = refused("distill digits --preset fast --config", tmp_path / "config.yaml")
    assert "give --preset or --config, not both" in told


def test_a_dry_run_of_a_run_to_resume_is_refused(refused, tmp_path):
    assert "config.yaml" in refused("distill digits --ipc 1 --dry-run --resume --out", tmp_path)


def test_output_in_the_folder_of_the_data_is_never_data(atom, tmp_path, monkeypatch):
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(4):
            Image.new("L", (8, 8), 50 * index).save(tmp_path / "set" / label / f"{index}.png")
    monkeypatch.chdir(tmp_path / "set")
    first = atom(f"distill . --ipc 1 --test-fraction 0.5 {QUICK}")
    assert first.code == 0
    assert "lies in the folder of the data: being a run, it is not taken for data" in first.err
    assert atom("data . --test-fraction 0.5").code == 0
    (run,) = (tmp_path / "set" / "runs").iterdir()
    assert atom(f"report {run.relative_to(tmp_path / 'set')}").code == 0
    assert atom(f"distill . --ipc 1 --test-fraction 0.5 {QUICK} --resume --out {run}").code == 0
    scored = atom("evaluate --epochs 1 --repeats 1 --width 8 --json --compile off", run)
    assert scored.code == 0
    assert "has changed" not in scored.err
    monkeypatch.chdir(tmp_path / "set" / "a")
    assert atom("data .. --test-fraction 0.5").code == 0  # its contact sheet lies among the images of a class
    again = atom("data .. --test-fraction 0.5 --json")
    assert (again.json["classes"], again.json["train"]["images"]) == (2, 4)
    refused = atom("data .. --test-fraction 0.5 --sheet mine.png")
    assert refused.code == 2
    assert "--sheet mine.png lies in the data" in refused.err

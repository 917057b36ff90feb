"""`atom import` as people and scripts use it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atom_distill.artifact.distilled import DistilledDataset


@pytest.fixture
def published(atom, finished, tmp_path) -> Path:
    """A set of ten digits as others might publish it, made of a run's."""
    stored = load_file(finished / "distilled.safetensors")
    path = tmp_path / "res_DM_digits.pt"
    torch.save({"data": [[stored["images"], stored["labels"]]], "accs_all_exps": {}}, path)
    return path


def test_an_imported_set_is_scored_as_one_of_ours(atom, run_folder, published):
    answer = atom("import --as digits --preprocess normalize --method dm", published)
    assert answer.code == 0, answer.err
    assert "10 images, 1 per class: runs/digits-dm-ipc1" in answer.out
    assert "recognized DC/DSA/DM/DataDAM result" in answer.err
    with Image.open("runs/digits-dm-ipc1/grid.png") as ours, Image.open(run_folder / "grid.png") as theirs:
        assert ours.tobytes() == theirs.tobytes()
    quick = "--repeats 1 --epochs 3 --width 8 --device cpu --json"
    scores = [atom(f"evaluate {folder} {quick}").json for folder in ("runs/digits-dm-ipc1", run_folder)]
    assert scores[0]["runs"] == scores[1]["runs"]
    assert len(DistilledDataset.load("runs/digits-dm-ipc1").scores) == 1


def test_the_next_command_can_be_copied(atom, published):
    assert (
        "next:     atom evaluate 'a set'\n"
        in atom(f"import --as digits --preprocess normalize {published} --out", "a set").out
    )


def test_import_for_scripts_with_soft_labels_and_a_rate(atom, published, tmp_path):
    (images, labels), *_ = torch.load(published, weights_only=True)["data"]
    for name, content in (("images", images), ("labels", 3 * torch.eye(10)[labels]), ("lr", torch.tensor(0.0321))):
        torch.save(content, tmp_path / f"{name}_best.pt")
    answer = atom(
        "import --as digits --preprocess normalize --json --out", tmp_path / "run", tmp_path / "images_best.pt"
    )
    facts = answer.json
    assert (facts["images"], facts["ipc"], facts["soft_labels"]) == (10, 1, True)
    assert facts["network_lr"] == pytest.approx(0.0321)
    assert facts["files"] == ["images_best.pt", "labels_best.pt", "lr_best.pt"]
    people = atom("import --as digits --preprocess normalize --out", tmp_path / "again", tmp_path / "images_best.pt")
    assert f"atom evaluate {tmp_path}/again --lr 0.0321" in people.err
    score = atom("evaluate --repeats 1 --epochs 3 --width 8 --device cpu --json", tmp_path / "run").json
    assert score["protocol_settings"]["lr"] == 0.01  # the set's own rate changes no protocol


def test_a_set_of_grids_of_intensities_is_normalized_and_scored(atom, finished, refused, tmp_path):
    """As IDC, DREAM and NCFM save it: [images, labels] in 0..1, here four pictures in each image."""
    stored, space = (load_file(finished / f"{name}.safetensors") for name in ("distilled", "preprocessing"))
    grids = (stored["images"] * space["std"].view(-1, 1, 1) + space["mean"].view(-1, 1, 1)).clamp(0, 1)
    torch.save([grids, stored["labels"]], tmp_path / "data.pt")
    for preprocess in ("", "--preprocess normalize"):
        line = refused(f"import --as digits --out run {preprocess}", tmp_path / "data.pt")
        assert re.search("0..1.*--preprocess none.*--factor 2.*zca, normalize, legacy-normalize", line)
    answer = atom("import --as digits --preprocess none --factor 2 --method idc", tmp_path / "data.pt")
    assert "10 images, 1 per class, which hold 40 smaller ones: runs/digits-idc-ipc1" in answer.out
    tiny = DistilledDataset.load("runs/digits-idc-ipc1")
    first = grids[0, :, :4, :4].double()
    wanted = torch.nn.functional.interpolate(first[None], scale_factor=2, mode="bilinear")[0]
    torch.testing.assert_close(tiny.preprocessing.invert(tiny.images)[0].double(), wanted, atol=1e-5, rtol=0)
    assert atom("evaluate runs/digits-idc-ipc1 --repeats 1 --epochs 2 --width 8 --device cpu").code == 0
    assert len(DistilledDataset.load("runs/digits-idc-ipc1").scores) == 1
    assert atom("export runs/digits-idc-ipc1 --to npz").code == 0
    again = atom("import --as digits --method again runs/digits-idc-ipc1.npz")
    assert "40 images, 4 per class: runs/digits-again-ipc4" in again.out
    assert torch.equal(DistilledDataset.load("runs/digits-again-ipc4").images, tiny.images)


def test_code_in_a_file_is_refused_and_not_run(refused, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    torch.save({"data": [[torch.zeros(10, 1, 8, 8), Bomb()]]}, tmp_path / "res.pt")
    line = refused("import --as digits --preprocess normalize --out run", tmp_path / "res.pt")
    assert re.search("res.pt .*posix.mkdir.*refused", line)
    assert not (tmp_path / "boom").exists()
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import", "data set.*--as"),
        (
            "import --as digits",
            "--preprocess: zca, normalize, or legacy-normalize .*or none, for intensities in 0..1",
        ),
        ("import --as digit --preprocess zca", "data set 'digit'.*'digits'"),
        ("import --as digits --preprocess legacy-normalize", "no legacy constants for digits"),
        ("import --as digits --preprocess zca --experiment 3", "3.*--experiment"),
        ("import --as digits --preprocess zca --labels nowhere.pt", "nowhere.pt"),
        ("import --as digits --preprocess none", "outside 0..1.*--preprocess none.*normalize"),
    ],
)
def test_wrong_lines(refused, published, line, told):
    assert re.search(told, refused(line, published))


def test_a_folder_in_use_is_refused(refused, published, run_folder):
    before = (run_folder / "distilled.safetensors").read_bytes()
    line = refused("import --as digits --preprocess normalize --out", run_folder, published)
    assert str(run_folder) in line
    assert "--out" in line
    assert (run_folder / "distilled.safetensors").read_bytes() == before


def test_an_imported_set_cannot_be_gone_on_with(atom, refused, published, tmp_path):
    atom("import --as digits --preprocess normalize --out", tmp_path / "run", published)
    line = refused("distill digits --ipc 1 --resume --out", tmp_path / "run")
    assert "was imported" in line

"""A folder of a distilled set that is damaged, or of something else: what is wrong is named."""

from __future__ import annotations

import pickle
import shutil

import pytest
import torch

from atom_distill.artifact.bundled import bundled_folder
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.folder import load_checked, save_checked
from atom_distill.base.errors import ArtifactError


@pytest.mark.parametrize("name", ["distilled.safetensors", "preprocessing.safetensors"])
def test_a_flipped_bit_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name} is damaged: its checksum differs"):
        DistilledDataset.load(folder)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("name", ["distilled.safetensors", "preprocessing.safetensors", "config.yaml", "scores.json"])
def test_a_truncated_file_is_named(folder, name, part):
    path = folder / name
    content = path.read_bytes()
    if name == "config.yaml" and part > 0.9:
        content = content[: content.index(b"record:")]
        part = 1.0
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")) as caught:
        DistilledDataset.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "facts", "told"),
    [
        ({"labels": torch.zeros(0, dtype=torch.int64), "images": torch.zeros(0, 3, 8, 8)}, {}, "labels"),
        ({"labels": torch.zeros(6)}, {}, "labels"),
        ({"labels": torch.zeros(6, 1, dtype=torch.int64)}, {}, "labels"),
        ({"images": torch.zeros(5, 3, 8, 8)}, {}, "rows"),
        ({"images": torch.zeros(6, 3, 8, 8, dtype=torch.bfloat16)}, {}, "bfloat16"),
        ({"images": torch.zeros(6, 3, 64)}, {}, "decode"),
        ({"images": torch.tensor(1.0)}, {}, "rows"),
        ({}, {"image_shape": [3, 8, 9]}, "decode"),
        ({}, {"image_shape": ["3", 8, 8]}, "decode"),
        ({}, {"parameterization": "tiles-7"}, "tiles-7"),
        ({}, {"class_names": [1, 2, 3]}, "names"),
    ],
)
def test_a_file_with_other_tensors_than_ours_is_named(folder, changes, facts, told):
    """Its checksum is right: another program has written it."""
    path = folder / "distilled.safetensors"
    tensors, known = load_checked(path)
    save_checked(path, tensors | changes, {**known, **facts})
    with pytest.raises(ArtifactError, match=rf"distilled\.safetensors is not a distilled set of this tool: .*{told}"):
        DistilledDataset.load(folder)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"coding": "lzma"}, "packed by another version: distill it again"),
        ({"coding": None}, "packed by another version"),
        ({"rows_per_class": [61] * 9 + [60]}, "it has 609 rows, and coefficients 610"),
        ({"packed": {"coefficients": [610, 1, 865]}}, "packed values are not 610 x 865 numbers"),
        ({"packed": {"coefficients": [610, 1, 10**14]}}, "packed values are not 610 x 100000000000000 numbers"),
    ],
)
def test_packed_values_of_another_kind_are_told(tmp_path, facts, told):
    shutil.copytree(bundled_folder("cifar10-3072"), tmp_path / "set")
    path = tmp_path / "set" / "distilled.safetensors"
    tensors, known = load_checked(path)
    save_checked(path, tensors, {**known, **facts})
    with pytest.raises(ArtifactError, match=rf"distilled\.safetensors is not a distilled set of this tool .*{told}"):
        DistilledDataset.load(tmp_path / "set")


def test_a_score_of_no_network_is_named(folder):
    path = folder / "scores.json"
    path.write_text(path.read_text().replace("50.0,", "").replace("52.0", ""))
    with pytest.raises(ArtifactError, match=r"scores\.json is damaged"):
        DistilledDataset.load(folder)


@pytest.mark.parametrize(("name", "text"), [("config.yaml", "[" * 20_000), ("scores.json", "[" * 100_000)])
def test_a_file_that_is_nested_too_deep_is_named(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(ArtifactError, match=name):
        DistilledDataset.load(folder)


@pytest.mark.parametrize("name", ["distilled.safetensors", "preprocessing.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing: the run is not finished"):
        DistilledDataset.load(folder)


def test_a_file_of_another_kind_is_named(folder):
    (folder / "distilled.safetensors").write_bytes((folder / "preprocessing.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match=r"distilled\.safetensors is not a distilled set of this tool"):
        DistilledDataset.load(folder)


def test_an_unknown_preprocessing_is_named(folder):
    (folder / "preprocessing.safetensors").write_bytes((folder / "distilled.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match=r"preprocessing\.safetensors is damaged: .*unknown kind"):
        DistilledDataset.load(folder)


def test_a_folder_without_a_run_is_told(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match=r"is not a run folder: it has no config\.yaml"):
            DistilledDataset.load(place)


def test_nothing_is_ever_unpickled(folder, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert len(DistilledDataset.load(folder)) == 6
    bomb = b"\x80\x04cbuiltins\nprint\n(S'boom'\ntR."
    for name in ("distilled.safetensors", "preprocessing.safetensors"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(bomb)
        with pytest.raises(ArtifactError, match=name):
            DistilledDataset.load(folder)
        (folder / name).write_bytes(whole)
    (folder / "config.yaml").write_text(f"!!python/object/apply:os.mkdir ['{folder}/boom']")
    with pytest.raises(ArtifactError, match=r"config\.yaml is damaged"):
        DistilledDataset.load(folder)
    assert not (folder / "boom").exists()

"""A cache that cannot be written: what it holds is used, and the rest goes to a temporary folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from atom_distill.data import fit_preprocessing as fitting
from atom_distill.data import rows
from atom_distill.data.load import load_dataset


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp" / f"atom-distill-{os.geteuid()}"


def test_a_set_that_it_holds_is_used_as_it_is(class_folders, tmp_path, read_only, capsys):
    before = load_dataset(class_folders)
    capsys.readouterr()
    read_only(tmp_path / "atom-data")
    again = load_dataset(class_folders)
    assert again.cache_folder == before.cache_folder
    assert again.fingerprint == before.fingerprint
    assert capsys.readouterr().err == ""


def test_another_version_of_the_set_is_decoded_once(class_folders, temporary, tmp_path, read_only, capsys):
    before = load_dataset(class_folders)
    read_only(tmp_path / "atom-data")
    first = sorted((class_folders / "train").rglob("*.png"))[0]
    Image.new("RGB", (8, 8), (9, 9, 9)).save(first)
    changed = load_dataset(class_folders)
    assert changed.fingerprint != before.fingerprint
    assert changed.cache_folder.is_relative_to(temporary)
    written = (changed.cache_folder / "dataset.json").stat().st_mtime_ns
    assert load_dataset(class_folders).fingerprint == changed.fingerprint
    assert (changed.cache_folder / "dataset.json").stat().st_mtime_ns == written
    assert "cannot be written" in capsys.readouterr().err


def test_everything_else_goes_to_the_temporary_folder(class_folders, temporary, tmp_path, read_only, monkeypatch):
    (tmp_path / "atom-data").mkdir()
    read_only(tmp_path / "atom-data")
    dataset = load_dataset(class_folders)
    assert dataset.cache_folder.is_relative_to(temporary)
    monkeypatch.setattr(fitting, "_SLOW_VALUES", 0)
    fitted = fitting.fit_preprocessing("zca", dataset)
    (kept,) = (temporary / "preprocessing").iterdir()
    kept_at = kept.stat().st_mtime_ns
    assert torch.equal(fitting.fit_preprocessing("zca", dataset).transform, fitted.transform)
    assert kept.stat().st_mtime_ns == kept_at
    monkeypatch.setattr(rows, "_IN_MEMORY", 0)
    assert torch.equal(rows.take(dataset.train.images, torch.tensor([2, 0])), dataset.train.images[[2, 0]])
    assert not list((tmp_path / "atom-data").iterdir())

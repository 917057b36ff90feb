"""What decoding tells of the files: Pillow's warnings with their names, and images that come out dark."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from atom_distill.data.cache.pillow_warnings import PillowWarnings
from atom_distill.data.load import load_dataset


def test_a_warning_names_the_first_file_and_counts_the_others(class_folders, monkeypatch, capsys):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # less than the 8x8 of each file, so that Pillow warns
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        load_dataset(class_folders)
    assert not [each for each in shown if "decompression bomb" in str(each.message)]
    told = [line for line in capsys.readouterr().err.splitlines() if "decompression bomb" in line]
    assert len(told) == 2  # of the training and of the test images
    first = sorted((class_folders / "train").rglob("*.png"))[0]
    assert told[0].startswith(f"{first} and 7 more: ")
    assert " and 3 more: " in told[1]


def test_warnings_that_are_about_no_file_are_shown_as_usual(capsys):
    said = PillowWarnings()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        show = warnings.showwarning
        with said.collected(), said.about("a.tif"):
            warnings.warn("Truncated\nFile Read", UserWarning, stacklevel=1)
            warnings.warn("old call", DeprecationWarning, stacklevel=1)
        assert warnings.showwarning is show
    said.print_notes()
    assert capsys.readouterr().err.endswith("a.tif: Truncated File Read\n")
    assert "Truncated" not in "".join(str(each.message) for each in shown)


@pytest.mark.parametrize(("largest", "dark"), [(4095, True), (65535, False)])
def test_twelve_bit_values_in_sixteen_bit_files_are_told(tmp_path, capsys, largest, dark):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "scans" / split / name
            folder.mkdir(parents=True)
            pixels = random.integers(0, largest + 1, (8, 8)).astype(np.uint16)
            pixels[0, 0] = largest
            Image.fromarray(pixels).save(folder / "1.png")
    dataset = load_dataset(tmp_path / "scans")
    told = capsys.readouterr().err
    assert ("no pixel is above 16 of 255" in told) == dark
    assert ("12-bit values" in told) == dark
    assert dataset.train.images.max() == (16 if dark else 255)  # as stored: nothing is rescaled

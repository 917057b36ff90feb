from __future__ import annotations

import json

import numpy as np
import pytest

from atom_distill.data.contact_sheet import contact_sheet
from atom_distill.data.describe import describe
from atom_distill.data.load import load_dataset


def test_describe_is_json_and_right(class_folders):
    facts = describe(load_dataset(class_folders))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["train"] == {"images": 8, "per_class": [4, 4]}
    assert facts["test"] == {"images": 4, "per_class": [2, 2]}
    assert facts["image_shape"] == [3, 8, 8]
    assert facts["mean"] == pytest.approx([201.5 / 2 / 255, 0, 101.5 / 2 / 255])
    assert (facts["skipped"], facts["classes"], facts["dtype"]) == (0, 2, "uint8")
    assert "pets-" in facts["cache_folder"]


def test_contact_sheet_shows_the_first_images(class_folders):
    sheet = np.asarray(contact_sheet(load_dataset(class_folders), per_class=3))
    present = {tuple(color) for color in sheet.reshape(-1, 3).tolist()}
    assert {(200, 0, 0), (201, 0, 0), (202, 0, 0), (0, 0, 102)} <= present
    assert (203, 0, 0) not in present
    assert (sheet == (200, 0, 0)).all(axis=2).sum() == 64 * 64  # 8x8 pixels enlarged eight times


def test_contact_sheet_limits_its_rows_and_takes_gray():
    assert contact_sheet(load_dataset("digits"), max_classes=3).height < contact_sheet(load_dataset("digits")).height

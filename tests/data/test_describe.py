from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from atom_distill.base.errors import ShapeError
from atom_distill.data import statistics
from atom_distill.data.contact_sheet import contact_sheet
from atom_distill.data.describe import describe
from atom_distill.data.load import load_dataset
from atom_distill.data.statistics import channel_statistics


@pytest.mark.parametrize("chunk", [1, 100, 1 << 24])
def test_statistics_agree_with_numpy_in_any_chunks(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", chunk)
    images = np.random.default_rng(0).integers(0, 256, (17, 3, 5, 5), dtype=np.uint8)
    images[:, 1] //= 9
    mean, std = channel_statistics(torch.from_numpy(images))
    np.testing.assert_allclose(mean.numpy(), (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std.numpy(), (images / 255).std((0, 2, 3)), rtol=1e-10)


def test_statistics_refuse_floats():
    with pytest.raises(ShapeError, match="uint8 images"):
        channel_statistics(torch.zeros(1, 3, 2, 2))


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
    present = {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}
    assert {(200, 0, 0), (201, 0, 0), (202, 0, 0), (0, 0, 102)} <= present
    assert (203, 0, 0) not in present
    assert (sheet == (200, 0, 0)).all(axis=2).sum() == 64 * 64  # 8x8 pixels enlarged eight times


def test_contact_sheet_limits_its_rows_and_takes_grey():
    assert contact_sheet(load_dataset("digits"), max_classes=3).height < contact_sheet(load_dataset("digits")).height

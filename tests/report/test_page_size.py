"""The size of a report of many classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import atom_distill as ad
from atom_distill.report.html_page import make_report

CLASSES = 200


def photos(count: int, random: torch.Generator) -> np.ndarray:
    """Smooth pictures with some noise, which take about as many bytes as photographs."""
    coarse = torch.rand(count, 3, 8, 8, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear")
    noise = 0.05 * torch.randn(count, 3, 64, 64, generator=random)
    return (255 * (smooth + noise).clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.mark.slow
def test_200_classes_of_tinyimagenets_size_take_less_than_10_mb(tmp_path: Path):
    random = torch.Generator().manual_seed(0)
    labels = {"y_train": np.arange(3 * CLASSES) % CLASSES, "y_test": np.arange(CLASSES)}
    pixels = {"x_train": photos(3 * CLASSES, random), "x_test": photos(CLASSES, random)}
    np.savez(tmp_path / "photos.npz", **pixels, **labels)
    settings = {"steps": 3, "snapshots": 8, "width": 4, "batch_real": 2, "init": "noise", "compile": "off"}
    data = ad.load_dataset(tmp_path / "photos.npz")
    ad.distill(data, 5, out=tmp_path / "run", device="cpu", show_progress=False, **settings)
    page = make_report([tmp_path / "run"]).html
    assert 1e6 < len(page.encode()) < 10e6
    assert page.count("data:image") > 10  # the pictures at several steps, real ones, attention

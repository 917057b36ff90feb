"""A saved set."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifact.scores_made_up import score
from artifact.sets import distilled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved set with a score, and a best set beside it."""
    best, _ = distilled(steps=1, which="best")
    distilled(best=best, scores=[score()])[0].save(tmp_path / "saved")
    return tmp_path / "saved"

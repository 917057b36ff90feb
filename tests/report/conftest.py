"""Small runs on digits, made once: copy one before you change it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from atom_distill.api import distill, evaluate
from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.data.load import load_dataset

SETTINGS = {"ipc": 2, "width": 8, "batch_real": 8, "compile": "off", "device": "cpu", "show_progress": False}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three runs: `atom` with snapshots, evaluations and scores, `dm`, and `random` without scores."""
    home, digits = tmp_path_factory.mktemp("runs"), load_dataset("digits")
    atom = distill(digits, out=home / "atom", steps=12, eval_every=6, eval_epochs=2, **SETTINGS)
    dm = distill(digits, out=home / "dm", method="dm", steps=8, **SETTINGS)
    distill(digits, out=home / "random", method="random", **SETTINGS)
    short, *_ = (
        evaluate(run, digits, repeats=2, protocol=PROTOCOLS.get("dm").changed(epochs=epochs), device="cpu")
        for run, epochs in ((atom, 2), (atom, 3), (dm, 3))
    )
    atom.add_score(short.model_copy(update={"arch": "vit", "shape": {}, "runs": (12.5,)}))  # real ones take seconds
    return home


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a run, given its name."""
    return lambda name: Path(shutil.copytree(made / name, tmp_path / name))


@pytest.fixture
def no_real_images() -> Callable[[object], object]:
    """Return what finds no data set."""
    from atom_distill.base.errors import DataError

    def nowhere(_described: object) -> object:
        raise DataError("they are not here")

    return nowhere

"""The example of a warm start: what it trains on, and what it measures, keeps, and concludes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

import atom_distill as ad

FILE = Path(__file__).parents[2] / "examples" / "warm_start.py"
SMALL = ["--share", "0.1", "--updates", "4", "--repeats", "2", "--width", "4", "--device", "cpu"]


@pytest.fixture
def example() -> dict[str, Any]:
    return runpy.run_path(str(FILE))


@pytest.fixture
def run(tmp_path: Path) -> str:
    digits = ad.load_dataset("digits")
    ad.distill(digits, ipc=1, method="random", out=tmp_path / "run", device="cpu", show_progress=False)
    return str(tmp_path / "run")


@pytest.fixture
def trainer(example: dict[str, Any], run: str) -> Any:
    return example["Trainer"](example["Plan"](set=run, share=0.1, updates=7, repeats=2, width=4, seed=0), "cpu")


def test_a_warm_start_is_two_halves_of_as_many_updates(trainer):
    warm, real, distilled = (trainer.parts(subject, 0) for subject in ("warm", "real", "distilled"))
    assert [(len(part.images), part.updates) for part in distilled] == [(10, 7)]
    expected = sum(max(1, round(0.1 * size)) for size in trainer.dataset.class_sizes().tolist())
    assert [(len(part.images), part.updates) for part in real] == [(expected, 7)]
    assert [(len(part.images), part.updates) for part in warm] == [(10, 3), (expected, 4)]


def test_subjects_of_a_network_share_real_images(trainer):
    (real,), (_, last) = trainer.parts("real", 1), trainer.parts("warm", 1)
    assert torch.equal(real.images.split.images, last.images.split.images)
    (other,) = trainer.parts("real", 0)
    assert not torch.equal(real.images.split.images, other.images.split.images)


@pytest.mark.parametrize(("images", "updates", "epochs"), [(10, 3, 3), (256, 3, 3), (257, 3, 2), (600, 7, 3)])
def test_updates_as_epochs(example, images, updates, epochs):
    """In batches of 256: 1, 1, 2 and 3 an epoch."""
    assert example["Part"](range(images), updates).epochs == epochs


def test_a_training_in_parts_is_one_training(example, trainer, monkeypatch):
    """Weights, momentum and learning rate go on: two parts with the same images are as one of both lengths."""
    whole, half = (example["Part"](trainer.distilled, updates) for updates in (4, 2))

    def weights(networks: Any, _: object) -> list[float]:
        return [sum(float(weight.detach().double().square().sum()) for weight in networks.parameters())]

    def weights_after(parts: list[Any]) -> float:
        monkeypatch.setattr(trainer, "parts", lambda *_: parts)
        return trainer.accuracy("warm", 0)

    monkeypatch.setitem(example["Trainer"].accuracy.__globals__, "accuracies", weights)
    assert weights_after([half, half]) == weights_after([whole]) != weights_after([half])


def test_gains_are_means_of_pairs(example):
    """Pairs 50 - 40 and 60 - 52; the deviation of 10 and 8 is the root of 2."""
    networks = ("network 0", "network 1")
    measured = {
        subject: dict(zip(networks, ({"accuracy": value, "seconds": 1.0} for value in values), strict=True))
        for subject, values in {"warm": (50, 60), "real": (40, 52), "distilled": (30, 30)}.items()
    }
    rows = example["compare"](measured)
    assert [(row["accuracy"], row["gain"]) for row in rows] == [(55, 9), (46, 0), (30, -16)]
    assert [row["gain_std"] for row in rows] == pytest.approx([2**0.5, 0, 72**0.5])
    assert example["table"](rows).splitlines()[2:] == [
        "| warm | 2 | 55.0 +- 7.1 | +9.0 +- 1.4 |",
        "| real | 2 | 46.0 +- 8.5 | - |",
        "| distilled | 2 | 30.0 +- 0.0 | -16.0 +- 8.5 |",
    ]


@pytest.mark.slow
def test_it_runs_in_small_and_continues(example, run, tmp_path, capsys):
    out = tmp_path / "results.json"
    assert example["main"]([run, *SMALL, "--out", str(out)]) == 0
    first = json.loads(out.read_text())
    assert {subject: len(found) for subject, found in first["measured"].items()} == dict.fromkeys(
        ("warm", "real", "distilled"), 2
    )
    assert all(0 <= one["accuracy"] <= 100 for found in first["measured"].values() for one in found.values())
    kept = first["measured"]["warm"].pop("network 1")
    first["record"]["machine"] = "that of the first measurements"
    out.write_text(json.dumps(first))
    capsys.readouterr()
    assert example["main"]([run, *SMALL, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.count(" %\n") == 1  # only what the file lacked
    second = json.loads(out.read_text())
    assert second["measured"]["warm"]["network 1"]["accuracy"] == kept["accuracy"]
    assert second["record"] == first["record"]
    assert printed.out.startswith("| trained on |")


def test_results_of_another_plan_are_kept(example, run, tmp_path, capsys):
    out = tmp_path / "results.json"
    out.write_text('{"plan": {"set": "cifar10-3072"}, "measured": {}}')
    assert example["main"]([run, *SMALL, "--out", str(out)]) == 2
    assert "holds results of another plan: give another --out" in capsys.readouterr().err
    assert "cifar10-3072" in out.read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["cifar10-1"], "cifar10-3072"),
        (["cifar10-3072", "--updates", "1"], "`updates`"),
        (["cifar10-3072", "--share", "0"], "`share`"),
        (["cifar10-3072", "--share", "1.5"], "`share`"),
    ],
)
def test_what_is_wrong_is_told(example, tmp_path, capsys, options, told):
    assert example["main"]([*options, "--out", str(tmp_path / "results.json")]) == 2
    assert told in capsys.readouterr().err

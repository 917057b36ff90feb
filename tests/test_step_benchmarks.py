"""The benchmarks of steps: they compute what runs compute."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import atom_distill as ad
from atom_distill.api import plan_distillation
from atom_distill.data.fit_preprocessing import fit_preprocessing
from atom_distill.distillation.initial_images import initial_images
from distillation.toys import toy_dataset

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"batch_synthetic": 2},
        {"nested": True},
        {"pool": 1, "pool_epochs": 1, "label_weight": 3.0},
    ],
    ids=str,
)
def test_a_timed_step_has_the_loss_of_a_run(more):
    dataset = toy_dataset()
    settings = {"ipc": 4, "preprocess": "normalize", "width": 4, "batch_real": 5, "device": "cpu", "steps": 3, **more}
    run = ad.distill(dataset, **settings, show_progress=False)

    plan = plan_distillation(dataset, settings)
    preprocessing = fit_preprocessing("normalize", dataset)
    first = initial_images(dataset, preprocessing, init="real", per_class=plan.images_per_class, seed=0)
    import ours

    step = ours.step_function(plan, preprocessing, first)
    assert [step(index) for index in range(3)] == pytest.approx([entry["loss"] for entry in run.history], rel=1e-6)


@pytest.mark.slow
def test_longer_runs_are_made_until_the_target_is_reached(tmp_path, monkeypatch, capsys):
    """The seconds are the mean of the runs', with those of the pool, whatever the clock says here."""

    def distill(dataset, steps, seed=0, **settings):
        made = ad_distill(dataset, steps=steps, seed=seed, **settings)
        made.record = {**made.record, "run_seconds": 10.0 * steps + seed, "pool_seconds": 4.0}
        return made

    ad_distill = ad.distill
    monkeypatch.setattr(ad, "distill", distill)
    script = runpy.run_path(str(ROOT / "benchmarks" / "time_to_accuracy.py"))
    settings = "ipc=1 width=4 batch_real=4 compile=off pool=1 pool_epochs=1 label_weight=1.0 device=cpu"
    options = f"--dataset digits --steps 3 1 2 --seeds 2 --networks 1 --protocol quick(epochs=2) --set {settings}"
    script["main"]([*options.split(), "--target", "101", "--json", str(tmp_path / "curve.json")])
    curve = json.loads((tmp_path / "curve.json").read_text())["curve"]
    assert [(point["steps"], point["seconds"], point["pool_s"]) for point in curve] == [
        (1, 14.5, 4.0),
        (2, 24.5, 4.0),
        (3, 34.5, 4.0),
    ]
    assert all(len(point["accuracies"]) == 2 for point in curve)
    assert "101 %: not reached" in capsys.readouterr().out
    script["main"]([*options.split(), "--target", "0"])
    assert "0 %: 14.5 s, 1 steps" in capsys.readouterr().out

"""The benchmark that chooses the recipe for transformers, in small."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from atom_distill.config.training_protocol import PROTOCOLS
from atom_distill.evaluation.evaluate import Evaluation
from distillation.toys import toy_dataset

ROOT = Path(__file__).parents[1]
SMALL = "--ipc 1 2 --epochs 1 --depth 1 --width 64 --augment weak medium --weight-decay 0.05 --device cpu"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the benchmark on a toy set, and return what it writes."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = runpy.run_path(str(ROOT / "benchmarks" / "vit_recipe.py"))
    monkeypatch.setattr("atom_distill.load_dataset", lambda _: toy_dataset((20, 20, 20)), raising=False)

    def run(options: str) -> dict:
        path = tmp_path / "recipe.json"
        monkeypatch.setattr(sys, "argv", ["vit_recipe.py", *options.split(), "--json", str(path)])
        script["main"]()
        return json.loads(path.read_text())

    run.script = script
    return run


def test_it_scores_every_recipe_on_held_out_images_and_continues(benchmark, monkeypatch, capsys):
    found = benchmark(f"{SMALL} --lr 0.001")
    assert [row["ipc"] for row in found["rows"]] == [1, 1, 2, 2]
    weak, medium = [row["settings"] for row in found["rows"][:2]]
    assert (weak["optimizer"], weak["lr"], weak["cutmix"], medium["cutmix"]) == ("adamw", 0.001, 0.0, 0.5)
    assert found["best"] in {row["protocol"] for row in found["rows"]}
    assert f"best: {found['best']}" in capsys.readouterr().out
    assert found["record"]["torch"]

    scored = []
    of_random = Evaluation.of_random

    def watched(self, data, ipc, preprocess):
        assert (len(data.train), len(data.test)) == (54, 6)  # of 20 training images of each class
        scored.append(ipc)
        return of_random(self, data, ipc, preprocess)

    monkeypatch.setattr(Evaluation, "of_random", watched)
    assert benchmark(f"{SMALL} --lr 0.001 0.002")["rows"][:4] == found["rows"]
    assert scored == [1, 1, 2, 2]  # those of the second learning rate
    with pytest.raises(SystemExit, match="another networks: give another --json"):
        benchmark(f"{SMALL} --networks 2")


def test_another_architecture_gets_a_learning_rate_of_its_own_protocol(benchmark):
    small = "--ipc 1 --epochs 1 --depth 1 --width 8 --augment weak --weight-decay 0.0005 --device cpu"
    found = benchmark(f"{small} --arch convnet --protocol dm --lr 0.01 0.1")
    assert [row["protocol"] for row in found["rows"]] == ["dm(epochs=1)", "dm(epochs=1,lr=0.1)"]


def test_the_best_has_the_highest_mean_over_the_sizes(benchmark):
    """Others were trained on some of the sizes only, or on more."""
    means = {"a": (30.0, 50.0), "b": (45.0, 40.0, 0.0), "c": (20.0, 52.0), "large only": (None, 60.0)}
    rows = [
        {"protocol": name, "ipc": ipc, "mean": mean}
        for name, found in means.items()
        for ipc, mean in zip((1, 10, 50), found, strict=False)
        if mean is not None
    ]
    assert benchmark.script["best"](rows, [1, 10]) == "b"
    assert benchmark.script["means_of"](rows, [10, 1]) == {"a": 40.0, "b": 42.5, "c": 36.0}
    assert benchmark.script["best"](rows, [1, 10, 100]) is None


def test_every_strength_is_a_protocol(benchmark):
    for values in benchmark.script["STRENGTHS"].values():
        assert PROTOCOLS.get("vit").changed(**values).augmentations()

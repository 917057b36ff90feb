"""The benchmark of sets for transformers, in small."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

import atom_distill as ad
from distillation.toys import toy_dataset

ROOT = Path(__file__).parents[1]
SMALL = (
    "--ways random ATOM,/both --bytes 400 --networks 1 --epochs-scale 0.01 "
    "--set steps=2 width=64 depth=1 compile=off device=cpu pictures=2 batch_real=2 batch_synthetic=0"
)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the benchmark on a toy set, and return what it writes."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = runpy.run_path(str(ROOT / "benchmarks" / "transformers.py"))
    monkeypatch.setattr("atom_distill.load_dataset", lambda _: toy_dataset((8, 8)), raising=False)

    def run(options: str) -> dict:
        path = tmp_path / "transformers.json"
        words = [word.replace("/", " ") for word in options.split()]
        monkeypatch.setattr(sys, "argv", ["transformers.py", *words, "--json", str(path), "--runs", str(tmp_path)])
        script["main"]()
        return json.loads(path.read_text())

    return run


def test_every_set_is_scored_by_both_kinds_of_networks_and_kept(benchmark, monkeypatch, capsys, tmp_path):
    found = benchmark(SMALL)
    said = [(row["way"], row["arch"], row["protocol"]) for row in found["rows"]]
    assert said == [
        (way, arch, protocol)
        for way in ("random", "ATOM, both")
        for arch, protocol in (("vit", "vit(epochs=3)"), ("convnet", "quick(epochs=2)"))
    ]
    assert "| ATOM, both |" in capsys.readouterr().out
    runs = {folder.name: ad.DistilledDataset.load(folder) for folder in tmp_path.iterdir() if folder.is_dir()}
    made = [(run.settings["method"], run.settings["arch"], run.settings["label_weight"]) for run in runs.values()]
    assert sorted(made) == [("atom", "convnet+vit", 0.0), ("random", "convnet", 10.0)]
    for run in runs.values():
        assert sorted((score.arch, score.protocol.name) for score in run.scores) == [
            ("convnet", "quick(epochs=2)"),
            ("vit", "vit(epochs=3)"),
        ]
    monkeypatch.setattr(ad, "evaluate", lambda *_, **__: pytest.fail("scored again"))
    assert benchmark(SMALL)["rows"] == found["rows"]


def test_what_the_ways_differ_by_cannot_be_set(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark(f"{SMALL} arch=vit")
    assert "--set cannot change arch, by which the ways differ" in capsys.readouterr().err

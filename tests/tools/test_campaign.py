"""The campaign: its damage repeats and damages, its children keep to their folders, and a hundredth of it passes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import campaign
from reliability import kills
from reliability.children import Outcome, Place, run
from reliability.comparing import contents, differing
from reliability.damage import KINDS
from reliability.kills import VARIETIES, phase
from reliability.mutations import damage_bytes, damage_value
from reliability.page import paragraph, write_paragraph
from reliability.samples import written_formats
from reliability.verdict import problem

ROOT = Path(__file__).resolve().parents[2]


def outcome(code: int = 0, err: str = "", **more) -> Outcome:
    return Outcome(code, "", err, 1.0, more.pop("peak_mib", 400.0), **more)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (outcome(), None),
        (outcome(2, "a note\natom data: no such folder\n"), None),
        (outcome(2, "+- error -+\n| see atom data --help |\n"), None),
        (outcome(2, "atom data: two\nlines\n"), "not one line"),
        (outcome(2, ""), "not one line"),
        (outcome(1, "Traceback (most recent call last):\n  x\nValueError: y\n"), "traceback: ValueError: y"),
        (outcome(0, "Traceback (most recent call last):\n  x\nValueError: y\n"), "traceback"),
        (outcome(1, "atom data: no\n"), "exit code 1"),
        (outcome(-11), "signal 11"),
        (outcome(peak_mib=2049.0), "2049 MiB"),
        (outcome(in_time=False), "30 s"),
        (outcome(strays=("open /etc/passwd",)), "/etc/passwd"),
    ],
)
def test_the_verdict(found, told):
    told_of = problem(found)
    assert told_of is None if told is None else told in told_of


def test_damage_repeats_and_damages():
    content = np.random.default_rng(0).bytes(2000)
    damaged = [damage_bytes(content, random.Random(number)) for number in range(300)]
    assert damaged == [damage_bytes(content, random.Random(number)) for number in range(300)]
    assert sum(one != content for one in damaged) > 290
    assert len({len(one) for one in damaged}) > 60
    for number in range(100):
        damage_bytes(b"", random.Random(number))  # nothing is long enough for every damage


def test_values_are_damaged_in_one_place_of_a_copy():
    value = {"a": [1, 2, {"b": None}], "c": "text"}
    before = json.dumps(value)
    damaged = {json.dumps(damage_value(value, random.Random(number))) for number in range(300)}
    assert json.dumps(value) == before
    assert len(damaged - {before}) > 60


def test_a_child_is_held_to_its_folders_and_its_time(tmp_path):
    place = Place(tmp_path / "place")

    def work() -> int:
        Path("inside").write_text("1")
        os.replace("inside", "moved")  # noqa: PTH105 (the call that is watched)
        try:
            (place.given / "changed").write_text("1")
        except PermissionError:
            return 3
        return 0

    found = run(work, place, limit_s=20)
    assert found.code == 3
    assert found.strays == (f"open {place.given / 'changed'}",)
    assert found.writes == 2
    assert [path.name for path in place.here.iterdir()] == ["moved"]
    assert not list(place.given.iterdir())
    slow = run(lambda: time.sleep(20) or 0, place, limit_s=0.1)
    assert (slow.in_time, slow.code) == (False, -9)
    failed = run(lambda: 1 // 0, place, limit_s=20)
    assert failed.code == 1
    assert "ZeroDivisionError" in failed.err


def test_folders_are_compared_without_times(tmp_path):
    for name, seconds, value in (("one", 1, 0.0), ("again", 2, 0.0), ("other", 1, 1.0)):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        save_file({"x": torch.full((2,), value)}, folder / "x.safetensors", {"seconds": str(seconds)})
        (folder / "scores.json").write_text(json.dumps([{"runs": [50.0], "seconds": seconds}]))
        (folder / "images" / "0.png").write_bytes(b"png")
        for step in range(seconds):  # an older one more or less
            save_file({"x": torch.zeros(1)}, folder / f"checkpoint-00000{4 - step}.safetensors")
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one.keys() == {"checkpoint-000004.safetensors", "x.safetensors", "scores.json", "images/0.png"}
    assert differing(one, again) == []
    assert differing(one, other) == ["x.safetensors"]
    assert differing(one, {}) == sorted(one)


def test_the_phase_of_a_run_is_read_from_its_files(tmp_path):
    place, phases = Place(tmp_path), [phase(Place(tmp_path))]
    (place.cache / "set").mkdir()
    (place.cache / "set" / "dataset.json").touch()
    phases.append(phase(place))
    (place.here / "run").mkdir()
    for name in ("config.yaml", "preprocessing.safetensors", "checkpoint-000005.safetensors", "README.md"):
        (place.here / "run" / name).touch()
        phases.append(phase(place))
    (place.here / "run" / "scores.json").write_text("[]")
    phases.append(phase(place))
    (place.here / "run" / ".checkpoint-000010.safetensors.abc.part").touch()
    phases.append(phase(place))
    assert phases == [
        "loading and decoding",
        "planning",
        "fitting the preprocessing",
        "steps before the first checkpoint",
        "steps",
        "evaluating",
        "evaluating",
        "writing checkpoint",
    ]


@pytest.mark.parametrize("hit", [0, 2, 99])
def test_a_run_that_was_done_before_it_was_killed_is_killed_sooner(tmp_path, monkeypatch, hit):
    tried = []

    def killed(_run, place, _alone, draw, share):
        tried.append((place.folder, draw.random(), share))
        return (("steps",) if len(tried) == hit + 1 else ()), None

    monkeypatch.setattr(kills, "_left_alone", lambda *_: kills.Reference({}, 1.0, 1))
    monkeypatch.setattr(kills, "_killed", killed)
    monkeypatch.setattr(kills, "write_folders", lambda *_, **__: None)
    (found,) = kills.try_kills([7], 0, tmp_path)
    assert [share for *_, share in tried] == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125][: hit + 1]
    assert len({folder for folder, *_ in tried}) == len({drawn for _, drawn, _ in tried}) == len(tried)
    assert (found.phases, bool(found.problem)) == ((("steps",), False) if hit < 99 else ((), True))


def test_shares_are_of_a_hundred_and_formats_are_many():
    assert sum(weight for weight, _ in KINDS.values()) == 100
    assert sum(variety.share for variety in VARIETIES.values()) == 100
    formats = Counter(form for form, _, _ in written_formats())
    assert {"BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP"} <= formats.keys()


def test_the_page_says_what_the_campaign_found(tmp_path):
    counts = json.loads((ROOT / "results" / "reliability.json").read_text())
    assert paragraph(counts) in (ROOT / "docs" / "index.md").read_text().split("\n")
    for part in counts.values():
        assert part["commit"]
        assert part["versions"]["torch"]
        assert part["machine"]
        assert "tools/campaign.py" in part["command"]
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n**Reliability.** old\n\nmore\n")
    counts["damaged"] = {**counts["damaged"], "inputs": 12_345, "problems": ["one"]}
    write_paragraph(page, counts)
    assert page.read_text().startswith("# Page\n\n**Reliability.** `tools/campaign.py`")
    assert "12,344 of 12,345 were either read" in page.read_text()
    assert page.read_text().endswith("\n\nmore\n")


@pytest.mark.parametrize("problems", [[], ["one"]])
def test_only_folders_with_problems_of_this_time_are_kept(tmp_path, monkeypatch, capsys, problems):
    out = tmp_path / "counts.json"
    out.write_text(json.dumps({"kills": {"problems": ["an earlier one"]}}))
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(campaign.tempfile, "mkdtemp", lambda **_: str(tmp_path / "work"))
    monkeypatch.setattr(campaign, "warm_up", lambda *_: None)
    monkeypatch.setattr(campaign, "run_damaged", lambda *_: {"problems": problems})
    assert campaign.main(["--part", "damaged", "--out", str(out)]) == len(problems)
    assert (tmp_path / "work").exists() == bool(problems)
    assert f"{len(problems)} problems" in capsys.readouterr().out
    assert json.loads(out.read_text())["kills"]["problems"] == ["an earlier one"]


@pytest.mark.slow
def test_a_small_part_of_the_campaign_finds_nothing(tmp_path):
    counts = tmp_path / "counts.json"
    line = ["tools/campaign.py", "--kills", "1", "--damaged", "20", "--every", "400", "--out", str(counts)]
    done = subprocess.run([sys.executable, *line], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(counts.read_text())
    assert found["kills"]["runs"] == 1
    assert found["kills"]["killed_while"]
    assert found["damaged"]["inputs"] == 20
    assert sum(kind["refused"] for kind in found["damaged"]["by_kind"].values()) > 8
    assert found["faults"]["failures"] > 5

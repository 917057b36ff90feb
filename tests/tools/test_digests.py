"""Digests of short runs: equal for equal results, different for others, and compared case by case."""

from pathlib import Path

import pytest
import torch

import digests
from digests import CASES, Case, differing, digest, inconsistent, run_cases

SOURCE = Path(__file__).resolve().parents[2] / "src"
SMALL = "distill digits --ipc 1 --steps 1 --batch-real 2 --width 8 --device cpu --compile off --out run"


@pytest.mark.slow
def test_a_digest_repeats_and_depends_on_the_seed() -> None:
    cases = [
        Case("first", (SMALL,)),
        Case("other", (f"{SMALL} --seed 1",), same_as="first"),
        Case("refused", (f"{SMALL} --no-such-option 1",)),
        Case("renamed", (f"{SMALL} --no-such-option 1",), otherwise=(SMALL,)),
    ]
    found = run_cases(cases, SOURCE, jobs=2)
    assert len(found["first"]) == 64
    assert found["renamed"] == found["first"] != found["other"]
    assert found["refused"].startswith("failed: ")
    assert "no-such-option" in found["refused"]
    assert inconsistent(cases, found) == ["other"]


def test_the_working_tree_is_compared_with_another_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the runs themselves: what is printed, and the exit code."""
    here = {case.name: f"{number:064x}" for number, case in enumerate(CASES)}
    here["atom-resumed"] = here["atom"]
    there = here | {"herding": "f" * 64}
    monkeypatch.setattr(
        digests,
        "run_cases",
        lambda cases, source, jobs: {c.name: (here if source == SOURCE else there)[c.name] for c in cases},
    )
    assert digests.main([]) == 0
    kept = tmp_path / "kept.txt"
    kept.write_text(capsys.readouterr().out)
    assert digests.read_digests(kept.read_text()) == here
    assert digests.main(["--against", str(kept)]) == 0
    assert digests.main(["--revision", "HEAD", "--only", "atom*"]) == 0
    capsys.readouterr()
    assert digests.main(["--revision", "HEAD"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "different or failed: herding\n"
    assert f"herding                    {here['herding'][:24]}  {'f' * 24}\n" in printed.out


def test_differences_failures_and_missing_cases_are_named() -> None:
    mine = {"same": "a", "other": "b", "missing": "c", "failed": "failed: x", "skipped": "skipped: y"}
    theirs = {"same": "a", "other": "B", "failed": "failed: x", "skipped": "skipped: y"}
    assert differing(mine, theirs) == ["other", "missing", "failed"]
    assert differing(mine, mine) == ["failed"]


def test_a_digest_covers_names_types_shapes_and_values_and_not_their_order() -> None:
    one, two = torch.arange(6.0), torch.ones((), dtype=torch.int64)
    tensors = {"images": one, "labels": two}
    others = [
        {"images": one, "label": two},
        {"images": one.view(2, 3), "labels": two},
        {"images": one.view(torch.int32), "labels": two},
        {"images": one + 1e-6, "labels": two},
        {"images": one},
    ]
    assert digest(tensors) == digest({"labels": two, "images": one.clone()})
    assert len({digest(tensors), *map(digest, others)}) == 6

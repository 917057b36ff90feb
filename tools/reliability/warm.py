"""Commands that import all that the others need."""

from __future__ import annotations

from reliability.samples import QUICK


def lines() -> list[list[str]]:
    """Return command lines, the first of which makes the run that the others read."""
    evaluation = ["--repeats", "1", "--epochs", "1", *QUICK]
    distill = ["--ipc", "1", "--steps", "1", "--batch-real", "2", *QUICK]
    return [
        ["distill", "digits", *distill, "--out", "run"],
        ["distill", "digits", *distill, "--out", "zca", "--preprocess", "zca"],
        ["distill", "digits", *distill, "--method", "herding", "--selection-epochs", "1", "--out", "herding"],
        ["evaluate", "run", *evaluation],
        *(["export", "run", "--to", form] for form in ("pt", "npz", "parquet", "hf", "imagefolder")),
        ["report", "run", "--json"],
        ["search", "run", "--sample", "1", "--epochs", "1", "--dry-run"],
        ["reproduce", "table1", "--ipc", "1", "--steps", "1", "--dry-run", "--datasets", "digits"],
        ["import", "run.pt", "--as", "digits", "--preprocess", "normalize", "--out", "imported"],
        ["data", "digits", "--json"],
    ]

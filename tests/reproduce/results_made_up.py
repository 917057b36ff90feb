"""Results of cells that were not run."""

from __future__ import annotations

from typing import Any

from atom_distill.reproduce.cell import Result


def result(
    row: str, column: str = "cifar10 ipc 1", *, mean: float = 30.0, published: float | None = None, **more: Any
) -> Result:
    """Return a cell of two networks, one percent below and above the mean."""
    facts: dict[str, Any] = {
        "steps": 500,
        "settings": {"method": row, "ipc": 1},
        "protocol": "dm",
        "preprocess": "zca",
        "precision": "bfloat16",
        **more,
    }
    return Result(
        row=row,
        column=column,
        published=published,
        runs=(mean - 1, mean + 1),
        arch="convnet",
        distill_seconds=None,
        evaluate_seconds=1.0,
        **facts,
    )

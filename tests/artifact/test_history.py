"""The history of a run, as far as its file can be read."""

from __future__ import annotations

import pytest

from atom_distill.artifact.folder import load_history


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        ("", []),
        ('{"step": 1, "loss": 1}\n{"step": 2, "lo', [1]),
        ('{"step": 1, "loss": 1}\n[]\n{"step": 3, "loss": 1}\n', [1]),
    ],
)
def test_metrics_are_read_up_to_where_they_break(tmp_path, lines, steps):
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert [entry["step"] for entry in load_history(tmp_path)] == steps


def test_metrics_that_are_not_text_end_where_text_ends(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 1}\n\xff\xfe\n')
    assert [entry["step"] for entry in load_history(tmp_path)] == [1]

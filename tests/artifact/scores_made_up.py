"""A score, made up."""

from __future__ import annotations

from atom_distill.artifact.scores import Score
from atom_distill.config.training_protocol import PROTOCOLS


def score(**changes) -> Score:
    values = {
        "subject": "distilled",
        "dataset": "toy",
        "preprocess": "normalize",
        "steps": 2,
        "images": 6,
        "ipc": 2,
        "arch": "convnet",
        "shape": {"norm": None},
        "protocol": PROTOCOLS.get("dm"),
        "seed": 0,
        "runs": (50.0, 52.0),
        "seconds": 1.5,
    }
    return Score(**(values | changes))

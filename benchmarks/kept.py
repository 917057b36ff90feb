"""Runs and scores that a benchmark keeps, so that the same command continues after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import atom_distill as ad
from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.config.training_protocol import TrainingProtocol
from atom_distill.data.dataset import ImageDataset


def folder_name(dataset: str, *parts: str, settings: Sequence[str]) -> str:
    """Return a name that tells runs apart: by data set, parts, and settings given as NAME=VALUE."""
    return "-".join([dataset, *parts, *sorted(settings)]).replace("/", "_")


def run_in(out: Path, dataset: ImageDataset, **settings: Any) -> DistilledDataset:
    """Return the set of the run in a folder: finished, continued, or made now."""
    return ad.distill(dataset, out=out, resume=out.exists(), **settings)


def scored(
    run: DistilledDataset,
    dataset: ImageDataset,
    *,
    first: int | None = None,
    arch: str = "convnet",
    protocol: TrainingProtocol,
    networks: int,
) -> dict[str, Any]:
    """Return the accuracy of a run, which its folder remembers.

    Args:
        run: a set.
        dataset: its test split is used.
        first: images of each class, the first of the run; None for all.
        arch: of the networks.
        protocol: by which they are trained.
        networks: how many.

    Returns:
        "arch"; "mean", "std" and "runs" in percent; and "seconds".
    """
    wanted = (first, arch, protocol, networks)
    known = [score for score in run.scores if (score.first, score.arch, score.protocol, len(score.runs)) == wanted]
    if not known:
        tiny = run if first is None else run.head(first)
        known = [ad.evaluate(tiny, dataset, arch=arch, repeats=networks, protocol=protocol)]
        if first is not None:  # otherwise `evaluate` has saved it
            run.add_score(known[0])
    return known[-1].model_dump(include={"arch", "mean", "std", "runs", "seconds"})

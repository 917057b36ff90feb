"""The real data sets of runs, where they are on this machine: a report downloads nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atom_distill.base.errors import DataError
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import is_at_hand, load_dataset
from atom_distill.data.sources.hub import is_repository
from atom_distill.data.sources.named import SOURCES


class RealDatasets:
    """Loads the data sets of runs, each once."""

    def __init__(self) -> None:
        self._loaded: dict[str, ImageDataset] = {}

    def __call__(self, described: Mapping[str, Any]) -> ImageDataset:
        """Return the data set of a run.

        Args:
            described: the run's `dataset`: name, fingerprint, and the request that loads it.

        Raises:
            DataError: it is not on this machine, or has changed.
            AtomError: it cannot be read.
        """
        request = described.get("request")
        if not isinstance(request, Mapping) or not request:
            raise DataError("the run does not say where they are: its data set was made in memory")
        if not is_at_hand(**request):
            where = str(request.get("name_or_path"))
            advice = (
                f"`atom data {where}` downloads it"
                if where in SOURCES or is_repository(where)
                else "restore the folder"
            )
            raise DataError(f"{where} is neither in the cache nor on this disk; {advice}")
        key = json.dumps(request, sort_keys=True, default=str)
        if key not in self._loaded:
            self._loaded[key] = load_dataset(**request)
        dataset = self._loaded[key]
        if dataset.fingerprint != described.get("fingerprint"):
            raise DataError(f"{dataset.name} has changed since the run: its images or classes differ")
        return dataset

"""The real data sets of runs, where they are on this machine: a report downloads nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atom_distill.base.errors import AtomError, DataError
from atom_distill.data.dataset import ImageDataset
from atom_distill.data.load import is_at_hand, load_dataset
from atom_distill.data.original import request_of, require_original
from atom_distill.data.sources.hub import is_repository
from atom_distill.data.sources.named import SOURCES


class RealDatasets:
    """Loads the data sets of runs, each once.

    Args:
        moved_to: where the data set of some runs is now, if it has moved.
    """

    def __init__(self, moved_to: Path | None = None) -> None:
        self._moved_to = moved_to
        self._refusal: AtomError | None = None
        self._is_used = moved_to is None
        self._loaded: dict[str, ImageDataset] = {}

    def __call__(self, described: Mapping[str, Any]) -> ImageDataset:
        """Return the data set of a run.

        Args:
            described: the run's `dataset`: name, fingerprint, and the request that loads it.

        Raises:
            DataError: it is not on this machine, or has changed.
            AtomError: it cannot be read.
        """
        if self._moved_to is not None:
            try:
                dataset = self._load(request_of(described, self._moved_to), described)
            except AtomError as error:  # of several runs, others may be of this set
                self._refusal = error
            else:
                self._is_used = True
                return dataset
        return self._load(request_of(described), described)

    def require_used(self) -> None:
        """Raise why `moved_to` is the data set of none of the runs, if so."""
        if not self._is_used and self._refusal is not None:
            raise self._refusal

    def _load(self, request: Mapping[str, Any], described: Mapping[str, Any]) -> ImageDataset:
        if not is_at_hand(**request):
            where = str(request.get("name_or_path"))
            advice = (
                f"`atom data {where}` downloads it"
                if where in SOURCES or is_repository(where)
                else "restore the folder, or give its place with --data if it has moved"
            )
            raise DataError(f"{where} is neither in the cache nor on this disk; {advice}")
        key = json.dumps(request, sort_keys=True, default=str)
        if key not in self._loaded:
            self._loaded[key] = load_dataset(**request)
        return require_original(self._loaded[key], described)

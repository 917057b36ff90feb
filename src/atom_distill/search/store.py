"""Finished trials on disk, one file each, so that a search goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import read_json_as, write_json
from atom_distill.base.progress import note
from atom_distill.search.trial import Outcome, Trial

_OUTCOME = TypeAdapter(Outcome)


class TrialStore:
    """Outcomes by the key of their trial.

    Those on the whole set, which take longest, are kept where every search of the machine finds them, unless the
    network is the user's own code, which may change. What failed is not kept: the next search tries it again.

    Args:
        folder: of this search.
        shared: of all searches.
        where: what the trials depend on besides themselves: images, and the kind of device.
    """

    def __init__(self, folder: Path, shared: Path, where: str) -> None:
        self._folder, self._shared, self._where = folder, shared, where

    def find(self, trial: Trial) -> Outcome | None:
        """Give what came of a trial, if it has been run, whatever its proxy was called then."""
        path = self._path(trial)
        if not path.exists():
            return None
        try:
            found = read_json_as(_OUTCOME, path, advice="search again")
        except ArtifactError as error:
            note(f"{error}; running that trial again")
            return None
        if (found.architecture, found.protocol) != (trial.candidate.name, trial.protocol):
            note(f"{path} holds another trial than its name says; running that trial again")
            return None
        return found.model_copy(update={"proxy": trial.proxy.name})

    def keep(self, trial: Trial, outcome: Outcome) -> None:
        """Keep what came of a trial, at once."""
        if outcome.failure is None:
            write_json(self._path(trial), outcome.model_dump(mode="json"))

    def _path(self, trial: Trial) -> Path:
        shared = trial.proxy.kind == "whole" and trial.candidate.builder is None
        return (self._shared if shared else self._folder) / f"{trial.key(self._where)}.json"

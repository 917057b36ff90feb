"""Distilled sets that come with the package: compact run folders in `sets/`, each with its card and scores.

`tools/bundle_set.py` of the repository puts a finished run there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atom_distill.artifact.distilled import DistilledDataset, Which
from atom_distill.artifact.folder import holds_run
from atom_distill.base.errors import ArtifactError
from atom_distill.base.registry import unknown_name

SETS_FOLDER = Path(__file__).parents[1] / "sets"


def bundled_names() -> list[str]:
    """Return the names of the sets that come with the package, by data set and size."""
    names = [path.name for path in SETS_FOLDER.glob("*") if holds_run(path)]
    return sorted(names, key=lambda name: (name.rpartition("-")[0], len(name), name))


def bundled_folder(name: str) -> Path:
    """Return the run folder of a set that comes with the package.

    Raises:
        UnknownNameError: there is none of that name; the message suggests the nearest ones.
        ArtifactError: it is a run folder of the user's.
    """
    if name not in bundled_names():
        if holds_run(Path(name)):
            raise ArtifactError(f"{name} is a run folder, not a bundled set: load it by DistilledDataset.load")
        raise unknown_name("distilled set", name, bundled_names())
    return SETS_FOLDER / name


def load_distilled(name: str) -> DistilledDataset:
    """Return a distilled set that comes with the package, in memory; no real data is needed.

    To load a run folder of your own, use `DistilledDataset.load`.

    Args:
        name: data set and bytes per class, as listed by `atom sets`, e.g. "cifar10-3072".

    Raises:
        UnknownNameError: there is no set of that name; the message suggests the nearest ones.
        ArtifactError: it is a run folder of the user's.
    """
    return load_run(bundled_folder(name))


def load_run(folder: Path, which: Which = "last") -> DistilledDataset:
    """Return the set of a run folder; one that comes with the package is in memory, so that nothing writes to it.

    Raises:
        ArtifactError: there is no finished run, a file is missing or damaged, or there is no best set.
    """
    tiny = DistilledDataset.load(folder, which)
    return replace(tiny, folder=None) if is_bundled(folder) else tiny


def is_bundled(folder: Path) -> bool:
    """Return True for the folder of a set that comes with the package."""
    return folder.resolve().parent == SETS_FOLDER.resolve()

"""The report of an unfinished run, written again whenever the run has written something."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from atom_distill.artifact import folder as files
from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import write_text
from atom_distill.report.html_page import make_report
from atom_distill.report.reading import RunView


def watch(
    folder: Path,
    out: Path,
    *,
    every: float,
    on_page: Callable[[RunView], None],
    moved_to: Path | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> RunView:
    """Write a run's report until the run is finished, and return what the last page shows.

    The last page has everything that `atom report` shows; those before it lack what takes a network.

    Args:
        folder: of the run.
        out: the page.
        every: time between two checks of the folder, and between two reloads of the page (seconds).
        on_page: called after each page.
        moved_to: where the run's data set is now, if it has moved.
        wait: sleeps for some seconds.

    Raises:
        ArtifactError: the folder is not a run folder.
        MissingExtraError: the packages that draw are not installed.
    """
    shown: object = None
    while True:
        finished, files_now = _is_finished(folder), _modification_times(folder)
        if finished or files_now != shown:
            report = make_report([folder], refresh=None if finished else every, moved_to=moved_to)
            write_text(out, report.html)
            on_page(report.views[0])
            if finished:
                return report.views[0]
            shown = files_now
        wait(every)


def _modification_times(folder: Path) -> object:
    return sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("[!.]*") if path.is_file())


def _is_finished(folder: Path) -> bool:
    """Return True if the run has done all its steps and written its card."""
    metrics = folder / files.METRICS_FILE
    try:
        settings = files.load_config(folder)["settings"]
        is_optimized = metrics.exists() and metrics.stat().st_size > 0
        return files.is_finished(folder, int(settings["steps"]) if is_optimized else 0)
    except (ArtifactError, KeyError, TypeError, ValueError):
        return False

"""The same page while a run goes on: written anew when the run has written something."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from atom_distill.artifact import folder as files
from atom_distill.base.errors import ArtifactError
from atom_distill.base.files import write_text
from atom_distill.report.reading import RunView
from atom_distill.report.render import make_report


def watch(
    folder: Path,
    out: Path,
    *,
    every: float,
    on_page: Callable[[RunView], None],
    caller: str,
    wait: Callable[[float], None] = time.sleep,
) -> RunView:
    """Write a run's page until the run is finished; the last page has everything that `atom report` shows.

    While the run goes on no network looks at its images: that would take the time of the run.

    Args:
        folder: of the run.
        out: the page.
        every: seconds between two looks; the page loads itself again as often.
        on_page: is told of each page.
        caller: the command, for the error where a package is not installed.
        wait: lets seconds pass.

    Returns:
        What is on the last page.

    Raises:
        ArtifactError: there is nothing of a run in the folder.
        MissingExtraError: the packages that draw are not installed.
    """
    seen: object = None
    while True:
        finished, now = _is_over(folder), _stamp(folder)
        if finished or now != seen:
            report = make_report([folder], refresh=None if finished else every, caller=caller)
            write_text(out, report.html)
            on_page(report.views[0])
            if finished:
                return report.views[0]
            seen = now
        wait(every)


def _stamp(folder: Path) -> object:
    """Give what changes when the run writes something."""
    return sorted((path.name, path.stat().st_mtime_ns) for path in folder.glob("[!.]*") if path.is_file())


def _is_over(folder: Path) -> bool:
    """Say whether the run has done all its steps and written its card."""
    try:
        settings = files.load_config(folder)["settings"]
        moves = (folder / files.METRICS_FILE).exists() and (folder / files.METRICS_FILE).stat().st_size > 0
        return files.is_finished(folder, int(settings["steps"]) if moves else 0)
    except (ArtifactError, KeyError, TypeError, ValueError):
        return False

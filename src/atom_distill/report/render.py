"""The page: one HTML text that holds everything it shows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from atom_distill import __version__
from atom_distill.base.errors import ConfigError
from atom_distill.base.optional import require
from atom_distill.report.attention import Observer
from atom_distill.report.charts import channel_chart, curve_chart, library
from atom_distill.report.comparison import comparison
from atom_distill.report.curves import Point, accuracy_points, loss_points, term_points
from atom_distill.report.gallery import gallery, images_to_show
from atom_distill.report.reading import RunView, read_run
from atom_distill.report.real_images import RealSets
from atom_distill.report.settings_table import settings_lines

_SCRIPTS = ("sheets.js", "grid.js", "lightbox.js", "attention.js", "charts.js", "page.js")


@dataclass(frozen=True)
class Report:
    """A page and what it lacks.

    Attributes:
        html: the page.
        missing: by the run's folder, what could not be shown and why.
        views: what was read of each run.
    """

    html: str
    missing: dict[str, list[str]]
    views: list[RunView]


def make_report(
    folders: Sequence[Path], *, most_images: int | None = None, refresh: float | None = None, caller: str
) -> Report:
    """Read runs and draw them.

    Args:
        folders: of the runs, one at least.
        most_images: images shown of all runs together; None is as many as keep the page light.
        refresh: seconds between two looks at a run that goes on; then no network looks at its images. None is a
            report that stays as it is.
        caller: the command, for the error where a package is not installed.

    Raises:
        ArtifactError: a folder holds nothing of a run.
        ConfigError: no folder, or one twice.
        MissingExtraError: the packages that draw are not installed.
    """
    if not folders:
        raise ConfigError("a report needs a run: give its folder")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is given twice")
    script = library(caller)
    real_sets = RealSets()
    views = [read_run(folder, real_sets) for folder in folders]
    _tell_apart(views)
    data = {**_galleries(views, most_images, look=refresh is None), "charts": _charts(views, caller)}
    data["refresh"] = refresh
    html = _page(views, data, script, caller)
    return Report(html, {str(view.folder): view.missing for view in views}, views)


def _tell_apart(views: Sequence[RunView]) -> None:
    """Name runs by their folders' own names, or by their paths where two are the same."""
    names = [view.name for view in views]
    for view in views:
        if names.count(view.name) > 1:
            view.name = str(view.folder)


def _galleries(views: Sequence[RunView], most_images: int | None, *, look: bool) -> dict[str, Any]:
    most, observer = images_to_show(views, most_images), Observer()
    return {"runs": [gallery(view, observer if look else None, most).as_data() for view in views]}


def _charts(views: Sequence[RunView], caller: str) -> dict[str, Any]:
    def chart(points: list[Point], unit: str, *, logarithmic: bool) -> dict[str, Any] | None:
        return curve_chart(points, unit=unit, logarithmic=logarithmic, caller=caller) if points else None

    return {
        "loss": chart(loss_points(views), "loss", logarithmic=True),
        "terms": [chart(term_points(view), "part of the loss", logarithmic=True) for view in views],
        "accuracy": chart(accuracy_points(views), "accuracy on held-out images, %", logarithmic=False),
        "channels": channel_chart(caller),
    }


def _page(views: Sequence[RunView], data: dict[str, Any], library_script: str, caller: str) -> str:
    jinja2 = require("jinja2", extra="report", caller=caller)
    home = files(__package__) / "page"
    source = {name: (home / name).read_text("utf-8") for name in ("page.html", "report.css", *_SCRIPTS)}
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        source["page.html"]
    )
    safe = jinja2.utils.markupsafe.Markup
    text: str = template.render(
        title=_title(views),
        lede=_lede(views),
        views=views,
        data=safe(json.dumps(data, default=dataclasses.asdict, separators=(",", ":")).replace("<", "\\u003c")),
        css=safe(source["report.css"]),
        library=safe(library_script),
        script=safe("\n".join(source[name] for name in _SCRIPTS)),
        table=comparison(views),
        settings=settings_lines(views),
        version=__version__,
        refresh=data["refresh"],
        has=data,
    )
    return text


def _title(views: Sequence[RunView]) -> str:
    return views[0].name if len(views) == 1 else f"{len(views)} runs compared"


def _lede(views: Sequence[RunView]) -> str:
    """Say in a line what is to be seen."""
    if len(views) > 1:
        sets = dict.fromkeys(str(view.dataset.get("name", "an unknown set")) for view in views)
        return f"{', '.join(sets)}: {', '.join(dict.fromkeys(view.method for view in views))}"
    view = views[0]
    train, images = view.dataset.get("train_size"), len(view.labels)
    source = f"{train:,} images of {view.dataset.get('name')}" if isinstance(train, int) else "A data set"
    made = f" in {view.steps:,} steps" if view.moves and view.steps else ""
    return f"{source} in {images:,} images, by {view.method}{made}."

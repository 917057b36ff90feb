"""The report: one HTML page that contains everything it shows."""

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
from atom_distill.report.charts import CALLER, chart_scripts
from atom_distill.report.gallery import galleries
from atom_distill.report.reading import RunView, read_run
from atom_distill.report.real_images import RealDatasets
from atom_distill.report.sections import SECTIONS


@dataclass(frozen=True)
class Report:
    """A page, and what was read of each run for it."""

    html: str
    views: list[RunView]

    @property
    def missing(self) -> dict[str, list[str]]:
        """By a run's folder, what cannot be shown and why."""
        return {str(view.folder): view.missing for view in self.views}


def make_report(
    folders: Sequence[Path],
    *,
    max_images: int | None = None,
    refresh: float | None = None,
    moved_to: Path | None = None,
) -> Report:
    """Return the report of runs.

    Args:
        folders: of the runs, at least one.
        max_images: images shown of all runs together; None is as many as keep the page light.
        refresh: seconds after which the page of an unfinished run reloads itself; attention and nearest images are left
            out, since their computation would slow down the run. None is a page that does not reload.
        moved_to: where the data set of the runs is now, if it has moved.

    Raises:
        ArtifactError: a folder is not a run folder.
        ConfigError: there is no folder, or one is given twice.
        DataError: the set at `moved_to` is that of none of the runs.
        MissingExtraError: the packages that draw are not installed.
    """
    if not folders:
        raise ConfigError("a report needs at least one run: give its folder")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is given twice")
    library = chart_scripts()
    real_datasets = RealDatasets(moved_to)
    views = [read_run(folder, real_datasets) for folder in folders]
    real_datasets.require_used()
    _make_names_distinct(views)
    data: dict[str, Any] = {section.name: section.data(views) for section in SECTIONS}
    data |= {"runs": galleries(views, max_images, analyze=refresh is None), "refresh": refresh}
    return Report(_html(views, data, library), views)


def _make_names_distinct(views: Sequence[RunView]) -> None:
    """Replace the names of runs whose folders have the same name by their paths."""
    names = [view.name for view in views]
    for view in views:
        if names.count(view.name) > 1:
            view.name = str(view.folder)


def _html(views: Sequence[RunView], data: dict[str, Any], library: str) -> str:
    jinja2 = require("jinja2", extra="report", caller=CALLER)
    safe = jinja2.utils.markupsafe.Markup
    sources = {file.name: file.read_text("utf-8") for file in (files(__package__) / "page").iterdir()}
    scripts = [name for section in SECTIONS for name in section.scripts]
    read_by_scripts = ["runs", "refresh", *(section.name for section in SECTIONS if section.scripts)]
    as_json = json.dumps(
        {name: data[name] for name in read_by_scripts}, default=dataclasses.asdict, separators=(",", ":")
    )
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    text: str = environment.get_template("page.html").render(
        title=views[0].name if len(views) == 1 else f"{len(views)} runs compared",
        summary=_summary(views),
        sections=SECTIONS,
        views=views,
        section_data=data,
        refresh=data["refresh"],
        version=__version__,
        css=safe(sources["report.css"]),
        library=safe(library),
        script_data=safe(as_json.replace("<", "\\u003c")),
        script=safe("\n".join(sources[name] for name in [*scripts, "page.js"])),
    )
    return text


def _summary(views: Sequence[RunView]) -> str:
    """Return one line about the runs."""
    if len(views) > 1:
        names = dict.fromkeys(str(view.dataset.get("name", "unknown data set")) for view in views)
        return f"{', '.join(names)}: {', '.join(dict.fromkeys(view.method for view in views))}"
    view = views[0]
    train = view.dataset.get("train_size")
    source = f"{train:,} training images of {view.dataset.get('name')}" if isinstance(train, int) else "a data set"
    steps = f", {view.steps:,} steps" if view.is_optimized and view.steps else ""
    return f"{len(view.labels):,} images from {source} (method {view.method}{steps})."

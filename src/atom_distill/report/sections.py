"""The sections of the page, in order. To add one, add it here and write its template `page/<name>.html`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from atom_distill.report.charts import channel_chart, curve_charts
from atom_distill.report.comparison import comparison
from atom_distill.report.reading import RunView
from atom_distill.report.settings_table import settings_lines


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        name: its template is `page/<name>.html`, its anchor `#<name>`.
        title: in the navigation bar.
        data: from all runs to what the template gets as `data`.
        scripts: files of `page/` that the section needs; these get the data as JSON, `data.<name>`, beside
            `data.runs`, the galleries.
    """

    name: str
    title: str
    data: Callable[[Sequence[RunView]], Any] = lambda _views: None
    scripts: tuple[str, ...] = ()


SECTIONS = (
    Section("images", "Images", scripts=("sheets.js", "grid.js", "lightbox.js")),
    Section("attention", "Attention", channel_chart, ("attention_maps.js",)),
    Section("curves", "Curves", curve_charts, ("charts.js",)),
    Section("scores", "Scores", comparison),
    Section("settings", "Settings", settings_lines),
    Section("use", "Use"),
)

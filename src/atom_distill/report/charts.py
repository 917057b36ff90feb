"""The charts of a report as Vega-Lite, made with Altair; their colors are set by the page."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from atom_distill.base.optional import require
from atom_distill.report.curves import Point, accuracy_points, loss_points, size_points, term_points
from atom_distill.report.reading import RunView

Spec = dict[str, Any]
CALLER = "a report"
"""Who needs the packages of the extra [report], for the error where one is not installed."""
BARS = "bars"
"""Name of the data that the page fills in when a layer is chosen: rank, channel, real, synthetic."""
SIZE = "images per class"
_HEIGHT = 260


def chart_scripts() -> str:
    """Return the JavaScript that draws charts: Vega, Vega-Lite and Vega-Embed in one text of 0.9 MB.

    Raises:
        MissingExtraError: a package that makes charts is not installed.
    """
    return _bundle(".".join(_altair().SCHEMA_VERSION.removeprefix("v").split(".")[:2]))


@functools.cache
def _bundle(version: str) -> str:
    """Return the scripts for a version of Vega-Lite, made once: it takes 3 s, and `atom watch` writes many pages."""
    bundle = require("vl_convert", extra="report", caller=CALLER).javascript_bundle
    text: str = bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return text


def curve_charts(views: Sequence[RunView]) -> dict[str, Any]:
    """Return the charts of loss and accuracies of all runs, and of each run's terms; None for one without values."""
    return {
        "loss": _curve_chart(loss_points(views), unit="loss", logarithmic=True),
        "terms": [_curve_chart(term_points(view), unit="term of the loss", logarithmic=True) for view in views],
        "accuracy": _curve_chart(accuracy_points(views), unit="accuracy on held-out images, %", logarithmic=False),
        "sizes": _curve_chart(size_points(views), unit="test accuracy, %", logarithmic=False, along=SIZE),
    }


def _curve_chart(points: Sequence[Point], *, unit: str, logarithmic: bool, along: str = "step") -> Spec | None:
    """Return curves by step or by size, or None if there are no points.

    Args:
        points: of all curves.
        unit: what the values are.
        logarithmic: True for values over several orders of magnitude; those that are not positive are left out.
        along: what `Point.step` is; sizes are on a logarithmic axis.
    """
    if not points:
        return None
    alt = _altair()
    rows = [point._asdict() for point in points if point.value > 0 or not logarithmic]
    names = list(dict.fromkeys(point.series for point in points))
    chosen = alt.selection_point(fields=["series"], bind="legend")
    scale = alt.Scale(type="log", nice=False, padding=6) if logarithmic else alt.Scale(zero=False, nice=True)
    hover = alt.selection_point(on="pointerover", nearest=True, empty=False, clear="pointerout")
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=_by_size(points) if along == SIZE else alt.X("step:Q", title=along, axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("value:Q", title=unit, scale=scale, axis=alt.Axis(tickCount=5, labelOverlap=True, format="~g")),
        color=alt.Color("series:N", sort=names, title=None, legend=alt.Legend() if len(names) > 1 else None),
        opacity=alt.condition(chosen, alt.value(1), alt.value(0.12)),
        tooltip=[
            alt.Tooltip("series:N", title=" "),
            alt.Tooltip("step:Q", title=along, format=",d"),
            alt.Tooltip("value:Q", title=unit, format=".4~g"),
        ],
    )
    lines = base.mark_line(strokeWidth=1.8, point=len(rows) <= 12 * max(1, len(names))).add_params(chosen)
    dots = (
        base.mark_point(filled=True, size=60)
        .encode(opacity=alt.condition(hover, alt.value(1), alt.value(0)))
        .add_params(hover)
    )
    return _spec(lines + dots)


def _by_size(points: Sequence[Point]) -> Any:
    """Return a logarithmic axis with a tick for each size."""
    alt, sizes = _altair(), sorted({point.step for point in points})
    scale = alt.Scale(type="log", nice=False, padding=12)
    return alt.X("step:Q", title=SIZE, scale=scale, axis=alt.Axis(values=sizes, format="d", labelOverlap=True))


def channel_chart(_views: Sequence[RunView]) -> Spec:
    """Return bars of channel attention, synthetic over real; the page fills in the data."""
    alt = _altair()
    bars = (
        alt.Chart(alt.NamedData(name=BARS))
        .transform_fold(["real", "synthetic"], as_=["images", "attention"])
        .encode(
            x=alt.X(
                "rank:O",
                title="channels, strongest first",
                axis=alt.Axis(labels=False, ticks=False, domain=False),
                scale=alt.Scale(paddingInner=0.15),
            ),
            y=alt.Y("attention:Q", title="attention"),
            tooltip=["channel:Q", alt.Tooltip("real:Q", format=".3f"), alt.Tooltip("synthetic:Q", format=".3f")],
        )
    )
    color = alt.Color("images:N", scale=alt.Scale(domain=["real", "synthetic"]), title=None, legend=alt.Legend())
    real = bars.transform_filter("datum.images == 'real'").mark_bar(width={"band": 0.9})
    synthetic = bars.transform_filter("datum.images == 'synthetic'").mark_tick(thickness=2.5)
    return _spec(alt.layer(real.encode(color=color), synthetic.encode(color=color)))


def _altair() -> ModuleType:
    return require("altair", extra="report", caller=CALLER)


def _spec(chart: Any) -> Spec:
    """Return a chart as data, as wide as its place in the page and without Altair's own theme."""
    spec: Spec = json.loads(chart.properties(width="container", height=_HEIGHT).to_json())
    spec.pop("config", None)
    return {**spec, "autosize": {"type": "fit", "contains": "padding"}}

"""The files of a search: a table of the proxies, every trial as CSV, all of it as JSON, and a scatter plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atom_distill.base import markdown
from atom_distill.base.files import atomic_path, write_json, write_text
from atom_distill.base.progress import duration
from atom_distill.base.record import run_record
from atom_distill.search.search_result import ProxyQuality, SearchResult
from atom_distill.search.trials import Outcome

HEADER = (
    *("proxy", "images", "chosen architecture", "test accuracy", "Spearman", "Kendall"),
    *("both over the best tenth", "time", "epochs", "failed"),
)
_MEASURED = (
    *("proxy", "accuracy", "test_accuracy", "seconds", "parameters"),
    *("peak_mib", "device", "precision", "failure"),
)


def rows(qualities: Sequence[ProxyQuality]) -> list[list[str]]:
    """Return the rows of a table with the columns of `HEADER`; a dash stands for an unknown value."""
    return [
        [
            one.proxy,
            str(one.images),
            one.chosen or "-",
            "-" if one.chosen_accuracy is None else f"{one.chosen_accuracy:.1f}",
            "-" if one.overall is None else f"{one.overall.spearman:.2f}",
            "-" if one.overall is None else f"{one.overall.kendall:.2f}",
            "-" if one.top is None else f"{one.top.spearman:.2f} / {one.top.kendall:.2f} (n={one.top.size})",
            duration(one.seconds),
            f"{one.epochs:.0f}",
            str(one.failed),
        ]
        for one in qualities
    ]


def notes(result: SearchResult) -> list[str]:
    """Return sentences that say how the figures were measured, and what is missing."""
    plan = result.plan
    sentences = [
        f"{len(plan.candidates)} architectures; protocol {plan.protocols[-1].name}, on the whole set "
        f"{plan.whole_protocol.name}; seed {plan.seed}.",
        "Each proxy ranks by accuracy on held-out training images. Test accuracy is that after training on the whole "
        "set, in percent; the correlations are with it.",
        f"Time is the sum over trials; they ran {result.workers}, or were finished before.",
    ]
    tried = {
        proxy.name: {one.architecture for one in result.outcomes if one.proxy == proxy.name} for proxy in plan.proxies
    }
    missing = [f"{len(names)} on {proxy}" for proxy, names in tried.items() if len(names) < len(plan.candidates)]
    if not result.finished:
        sentences.append(f"{', '.join(['Incomplete: the table shows what is finished so far', *missing])}.")
    if plan.has_halving:
        lengths = " and ".join(str(rung.epochs) for rung in plan.protocols[:-1])
        sentences.append(
            f"Successive halving: on distilled and random images a third continues after {lengths} epochs."
        )
    if result.unfit:
        first = result.unfit[0]
        sentences.append(
            f"{len(result.unfit)} architectures do not fit the images, e.g. {first.candidate.name}: {first.reason}."
        )
    return sentences


REPORT_FILES = ("search.md", "search.json", "trials.csv", "search.png")


def write_report(folder: Path, result: SearchResult) -> None:
    """Write search.md, search.json, trials.csv and, where rankings can be compared with the truth, search.png."""
    table = markdown.table(HEADER, rows(result.proxy_qualities()))
    bullets = [f"- {sentence}" for sentence in notes(result)]
    write_text(folder / "search.md", "\n".join(["# Architecture search", "", table, "", *bullets, ""]))
    write_json(folder / "search.json", as_json(result))
    write_text(folder / "trials.csv", _csv(_in_order(result)))
    if result.plan.trains_all_on_whole:
        scatter(result.proxy_qualities(), result.outcomes, folder / "search.png")
    else:
        (folder / "search.png").unlink(missing_ok=True)  # of an earlier search


def as_json(result: SearchResult) -> dict[str, Any]:
    """Return the whole result as plain values."""
    return {
        "verdicts": [one.model_dump(mode="json") for one in result.proxy_qualities()],
        "notes": notes(result),
        "trials": [one.model_dump(mode="json") for one in _in_order(result)],
        "unfit": [{"architecture": one.candidate.name, "reason": one.reason} for one in result.unfit],
        "record": run_record(),
    }


def _in_order(result: SearchResult) -> list[Outcome]:
    """Return the outcomes in the order of the plan: workers finish in any order."""
    plan = result.plan
    proxies = {proxy.name: index for index, proxy in enumerate([*plan.proxies, plan.whole])}
    networks = {candidate.name: index for index, candidate in enumerate(plan.candidates)}
    return sorted(
        result.outcomes, key=lambda one: (proxies[one.proxy], networks[one.architecture], one.protocol.epochs)
    )


def _csv(outcomes: Sequence[Outcome]) -> str:
    text = io.StringIO()
    shape = list(outcomes[0].shape) if outcomes else []
    writer = csv.DictWriter(text, ["architecture", "arch", *shape, "protocol", *_MEASURED], lineterminator="\n")
    writer.writeheader()
    for one in outcomes:
        values = one.model_dump(include={"architecture", "arch", *_MEASURED})
        writer.writerow({**values, **one.shape, "protocol": one.protocol.name})
    return text.getvalue()


def scatter(qualities: Sequence[ProxyQuality], outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw, for each proxy, its accuracies against those after training on the whole set, as a PNG."""
    from matplotlib.figure import Figure

    truth = {one.architecture: one.test_accuracy for one in outcomes if one.test_accuracy is not None}
    figure = Figure(figsize=(3 * len(qualities), 3.4), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(qualities), sharey=True, squeeze=False)[0]
    for axes, quality in zip(panels, qualities, strict=True):
        shown = _last_rungs([one for one in outcomes if one.proxy == quality.proxy and one.architecture in truth])
        sizes = [12 * (1 + rung) for _, rung in shown]  # those that reached a later rung of halving are larger
        accuracies = [one.accuracy for one, _ in shown]
        axes.scatter(accuracies, [truth[one.architecture] for one, _ in shown], s=sizes, alpha=0.7)
        rho = "" if quality.overall is None else f"\nSpearman {quality.overall.spearman:.2f}"
        axes.set_title(f"{quality.proxy}, {quality.images} images{rho}", loc="left", fontsize=9, parse_math=False)
        axes.set_xlabel("accuracy on the proxy, %")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("test accuracy, whole set, %")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _last_rungs(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, int]]:
    """Return the outcome of each architecture on a proxy after the last rung that it reached, and that rung, from 0."""
    rungs = sorted({one.protocol.epochs for one in outcomes})
    finished = sorted((one for one in outcomes if one.accuracy is not None), key=lambda one: one.protocol.epochs)
    last = {one.architecture: (one, rungs.index(one.protocol.epochs)) for one in finished}
    return list(last.values())

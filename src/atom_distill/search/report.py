"""A search's files: the verdicts as a table, every trial as CSV, all of it as JSON, and a scatter plot."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atom_distill.base import markdown
from atom_distill.base.files import atomic_path, write_json, write_text
from atom_distill.base.progress import duration
from atom_distill.base.record import run_record
from atom_distill.search.plan import Plan
from atom_distill.search.ranking import Correlation
from atom_distill.search.space import Unfit
from atom_distill.search.trial import Outcome
from atom_distill.search.verdict import Verdict, standings, truth_of, verdicts

HEADER = (
    *("proxy", "images", "chosen architecture", "its accuracy", "Spearman", "Kendall"),
    *("both over the best tenth", "time", "epochs", "failed"),
)


def rows(found: Sequence[Verdict]) -> list[list[str]]:
    """Lay verdicts out under `HEADER`; a dash where nothing is known."""
    return [
        [
            one.proxy,
            str(one.images),
            one.chosen or "-",
            "-" if one.chosen_accuracy is None else f"{one.chosen_accuracy:.1f}",
            "-" if one.overall is None else f"{one.overall.spearman:.2f}",
            "-" if one.overall is None else f"{one.overall.kendall:.2f}",
            _top(one.top),
            duration(one.seconds),
            f"{one.epochs:.0f}",
            str(one.failed),
        ]
        for one in found
    ]


def notes(plan: Plan, outcomes: Sequence[Outcome], unfit: Sequence[Unfit], place: str) -> list[str]:
    """Say how the figures came about.

    Args:
        plan: what was to be done.
        outcomes: what was.
        unfit: architectures that were left out.
        place: who ran the trials.
    """
    told = [
        f"{len(plan.candidates)} architectures; protocol {plan.protocols[-1].name}, on the whole set "
        f"{plan.whole_protocol.name}; seed {plan.seed}.",
        "Architectures are ranked by accuracy on held-out training images; their own accuracy is that on the test "
        "split after training on the whole set, in percent, and correlation is with it.",
        f"Time is the sum over trials; they ran {place}, or were found finished.",
    ]
    tried = {proxy.name: {one.architecture for one in outcomes if one.proxy == proxy.name} for proxy in plan.proxies}
    missing = [f"{len(names)} on {proxy}" for proxy, names in tried.items() if len(names) < len(plan.candidates)]
    if missing:
        told.append(f"Not complete, and the table is of what is there: so far tried are {', '.join(missing)}.")
    if plan.halves:
        lengths = " and ".join(str(rung.epochs) for rung in plan.protocols[:-1])
        told.append(f"Successive halving: on distilled and random images a third goes on after {lengths} epochs.")
    if unfit:
        first = unfit[0]
        told.append(f"{len(unfit)} architectures do not fit the images, e.g. {first.candidate.name}: {first.reason}.")
    return told


def write_report(folder: Path, plan: Plan, outcomes: Sequence[Outcome], unfit: Sequence[Unfit], place: str) -> None:
    """Write search.md, search.json, trials.csv and, where rankings can be judged, search.png."""
    found, outcomes = verdicts(plan, outcomes), _in_order(plan, outcomes)
    lines = ["# Architecture search", "", markdown.table(HEADER, rows(found)), ""]
    write_text(
        folder / "search.md", "\n".join([*lines, *(f"- {told}" for told in notes(plan, outcomes, unfit, place)), ""])
    )
    write_json(folder / "search.json", as_json(plan, outcomes, unfit, place))
    write_text(folder / "trials.csv", _csv(outcomes))
    if plan.knows_truth:
        _plot(plan, outcomes, folder / "search.png")
    else:
        (folder / "search.png").unlink(missing_ok=True)  # of an earlier search


def as_json(plan: Plan, outcomes: Sequence[Outcome], unfit: Sequence[Unfit], place: str) -> dict[str, Any]:
    """Give everything that is known as plain values."""
    return {
        "verdicts": [_verdict(one) for one in verdicts(plan, outcomes)],
        "notes": notes(plan, outcomes, unfit, place),
        "trials": [one.model_dump(mode="json") for one in _in_order(plan, outcomes)],
        "unfit": [{"architecture": one.candidate.name, "reason": one.reason} for one in unfit],
        "record": run_record(),
    }


def _in_order(plan: Plan, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Sort outcomes as planned: workers finish in any order."""
    proxies = {proxy.name: place for place, proxy in enumerate([*plan.proxies, plan.whole])}
    networks = {candidate.name: place for place, candidate in enumerate(plan.candidates)}
    return sorted(outcomes, key=lambda one: (proxies[one.proxy], networks[one.architecture], one.protocol.epochs))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    tuples = {"overall": verdict.overall, "top": verdict.top}
    return {**verdict.model_dump(mode="json"), **{name: one and one._asdict() for name, one in tuples.items()}}


def _csv(outcomes: Sequence[Outcome]) -> str:
    text = io.StringIO()
    shape = list(outcomes[0].shape) if outcomes else []
    own = [
        *("proxy", "accuracy", "test_accuracy", "seconds", "parameters", "peak_mib", "device", "precision", "failure")
    ]
    writer = csv.DictWriter(text, ["architecture", "arch", *shape, "protocol", *own], lineterminator="\n")
    writer.writeheader()
    for one in outcomes:
        values: Mapping[str, Any] = one.model_dump(include={"architecture", "arch", *own})
        writer.writerow({**values, **one.shape, "protocol": one.protocol.name})
    return text.getvalue()


def _plot(plan: Plan, outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw, for each proxy, its accuracies against those after training on the whole set."""
    from matplotlib.figure import Figure

    truth, ranked = truth_of(outcomes), standings(plan, outcomes)
    figure = Figure(figsize=(3 * len(plan.proxies), 3.4), dpi=150, layout="constrained")
    every = figure.subplots(1, len(plan.proxies), sharey=True, squeeze=False)[0]
    for axes, verdict in zip(every, verdicts(plan, outcomes), strict=True):
        both = [one for one in ranked[verdict.proxy] if one.architecture in truth]
        sizes = [12 * (1 + one.rung) for one in both]  # those that came further in successive halving are larger
        axes.scatter([one.accuracy for one in both], [truth[one.architecture] for one in both], s=sizes, alpha=0.7)
        rho = "" if verdict.overall is None else f"\nSpearman {verdict.overall.spearman:.2f}"
        axes.set_title(f"{verdict.proxy}, {verdict.images} images{rho}", loc="left", fontsize=9)
        axes.set_xlabel("accuracy on the proxy, %")
        axes.spines[["top", "right"]].set_visible(False)
    every[0].set_ylabel("test accuracy, whole set, %")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _top(found: Correlation | None) -> str:
    return "-" if found is None else f"{found.spearman:.2f} / {found.kendall:.2f} (n={found.size})"

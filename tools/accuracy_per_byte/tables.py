"""The tables of the page: sets made here, by size, and the figures of others beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from accuracy_per_byte.entry import Entry
from accuracy_per_byte.published import CLASSES, IMAGES, METHODS, WHOLE_SET
from atom_distill.artifact.origins import origin_of
from atom_distill.base import markdown as md

_SIZES = {
    "`dm`, %": re.compile("dm"),
    "`dm` at the same compute, %": re.compile(r"dm\(same-compute,epochs=\d+\)"),
    "`quick`, %": re.compile(r"quick(\(epochs=\d+\))?"),
}
"""Protocols by column of the table of sets by size."""

Group = tuple[str, int]
"""Name of a data set and number of classes."""


def tables(entries: Sequence[Entry]) -> str:
    """Return a section of Markdown for each data set that has published figures or entries."""
    published: list[Group] = [*CLASSES.items()]
    measured = dict.fromkeys((entry.dataset, entry.classes) for entry in entries)
    groups = [*published, *(group for group in measured if group not in published)]
    return "\n\n".join(
        _section(group, [entry for entry in entries if (entry.dataset, entry.classes) == group]) for group in groups
    )


def _section(group: Group, entries: Sequence[Entry]) -> str:
    name, classes = group
    is_published = CLASSES.get(name) == classes
    title = origin_of({"name": name, "request": {"name_or_path": name}}).title
    in_sizes, in_transfer = _in_sizes(entries), _in_transfer(entries)
    shown = {entry.key for entry in (*in_sizes, *in_transfer)}
    others = [entry for entry in entries if entry.key not in shown]
    parts = [f"### {title}" + ("" if is_published else f", {classes} classes"), _sizes(in_sizes)]
    parts += [_transfer(in_transfer), _others(others), _commands(entries), _published(name) if is_published else ""]
    return "\n\n".join(part for part in parts if part)


def _in_sizes(entries: Sequence[Entry]) -> list[Entry]:
    """Return the scores of the default ConvNet and class numbers that have a column; of two, that of more epochs."""
    of_convnet = [entry for entry in entries if _network(entry) == "convnet" and entry.labels == "hard"]
    chosen = {(entry.run, entry.which, _column(entry)): entry for entry in sorted(of_convnet, key=lambda e: e.epochs)}
    kept = {entry.key for (_, _, column), entry in chosen.items() if column}
    return [entry for entry in of_convnet if entry.key in kept]


def _in_transfer(entries: Sequence[Entry]) -> list[Entry]:
    """Return the scores of sets that were also scored with another network, by the same protocol and class numbers."""
    hard = [entry for entry in entries if entry.labels == "hard"]
    elsewhere = {(entry.run, entry.which, entry.protocol) for entry in hard if _network(entry) != "convnet"}
    return [entry for entry in hard if (entry.run, entry.which, entry.protocol) in elsewhere]


def _column(entry: Entry) -> str | None:
    """Return the column of a score in the table of sets by size, by its protocol."""
    return next((name for name, protocol in _SIZES.items() if protocol.fullmatch(entry.protocol)), None)


def _sizes(entries: Sequence[Entry]) -> str:
    """Return the table of sets by size."""
    rows = [_row(run) for run in _by_run(entries)]
    if not rows:
        return ""
    columns = [name for name in rows[0] if any(row[name] != "-" for row in rows)]
    table = md.table(columns, [[row[name] for name in columns] for row in rows])
    return f"By size, with a ConvNet; in parentheses, the number of networks:\n\n{table}"


def _row(run: Sequence[Entry]) -> Mapping[str, str]:
    """Return the cells of a set by the names of their columns."""
    first = run[0]
    return {
        "set": f"{first.run}: {_made(first)}",
        "stored per class": f"{first.pictures:g} pictures, `{first.parameterization}`",
        "bytes per class": f"{first.stored_bytes / first.classes:,.0f}",
        "images at 8 bits": f"{first.images_8_bit:.2f}",
        "images at float32": f"{first.images_float32:.2f}",
        **{name: _score(entry for entry in run if _column(entry) == name) for name in _SIZES},
        "minutes": _minutes(first),
    }


def _score(entries: Iterable[Entry]) -> str:
    """Return an accuracy, the number of networks, and their epochs where these are not the protocol's."""
    entry = next(iter(entries), None)
    if entry is None:
        return "-"
    epochs = f"; {entry.epochs} epochs" if entry.protocol.endswith(")") else ""
    return f"{_accuracy(entry)} ({len(entry.runs)}{epochs})"


def _transfer(entries: Sequence[Entry]) -> str:
    """Return the table of other architectures, with the ConvNet beside them."""
    others = sorted({_network(entry) for entry in entries} - {"convnet"})
    if not others:
        return ""
    columns, rows = ["convnet", *others], []
    for run in _by_run(entries):
        for protocol in dict.fromkeys(entry.protocol for entry in run):
            cells = {_network(entry): _accuracy(entry) for entry in run if entry.protocol == protocol}
            row = [f"{run[0].run}: {_made(run[0])}", f"`{protocol}`"]
            rows.append([*row, *(cells.get(network, "-") for network in columns)])
    return f"Other architectures, %:\n\n{md.table(['set', 'protocol', *columns], rows)}"


def _others(entries: Sequence[Entry]) -> str:
    """Return the table of everything else: other protocols, and soft labels."""
    columns = ["set", "network", "protocol", "labels", "%", "networks"]
    rows = []
    for entry in entries:
        how = [_network(entry), f"`{entry.protocol}`", entry.labels]
        rows.append([f"{entry.run}: {_made(entry)}", *how, _accuracy(entry), str(len(entry.runs))])
    return f"Other protocols and labels:\n\n{md.table(columns, rows)}" if rows else ""


def _commands(entries: Sequence[Entry]) -> str:
    """Return how each set was made and judged, one line each."""
    lines = []
    for run in _by_run(entries):
        first = run[0]
        commands = dict.fromkeys(command for entry in run for command in entry.commands)
        threads = f", {first.threads} thread{'' if first.threads == 1 else 's'}" if first.threads else ""
        conditions = f"commit {first.commit or 'unknown'}, torch {first.torch or 'unknown'}"
        shown = ", ".join(f"`{command}`" for command in commands)
        lines.append(f"- {first.run}: {shown} at {conditions}, {first.machine or 'unknown machine'}{threads}")
    return "\n".join(lines)


def _published(dataset: str) -> str:
    """Return the table of the figures of others."""
    rows = [
        [method.name, *map(_percent, method.accuracies[dataset]), method.stored, method.judged]
        for method in METHODS
        if any(method.accuracies[dataset])
    ]
    rows.append(["whole set", *[_percent(WHOLE_SET[dataset])] * len(IMAGES), "all real images", "-"])
    columns = [f"{images} image{'' if images == 1 else 's'} per class, %" for images in IMAGES]
    return f"Published:\n\n{md.table(['method', *columns, 'what is stored', 'how it was evaluated'], rows)}"


def _by_run(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the entries in groups of one set each, in the order of the first of each group."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.run, entry.which), []).append(entry)
    return [*groups.values()]


def _network(entry: Entry) -> str:
    shape = ", ".join(f"{name} {value}" for name, value in sorted(entry.shape.items()))
    return f"{entry.arch} ({shape})" if shape else entry.arch


def _made(entry: Entry) -> str:
    """Return how a set was made, in a few words."""
    steps = f", preset {entry.preset}, {entry.steps:,} steps" if entry.steps else ""
    return f"{entry.method}{steps}" + (", best on held-out images" if entry.which == "best" else "")


def _accuracy(entry: Entry) -> str:
    """Return an accuracy, with its deviation where there are several networks."""
    return f"{entry.mean:.1f} ± {entry.std:.1f}" if len(entry.runs) > 1 else f"{entry.mean:.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _minutes(entry: Entry) -> str:
    """Return the minutes of the run, and those of its pool if it has one."""
    seconds = entry.steps_seconds if entry.run_seconds is None else entry.run_seconds
    run = "unknown" if seconds is None else f"{seconds / 60:.1f}"
    if not entry.pool:
        return run
    return f"{run} + {'unknown' if entry.pool_seconds is None else f'{entry.pool_seconds / 60:.1f}'}"

"""The tables of the page: sets made here, by size, and the figures of others beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from accuracy_per_byte.entry import Entry
from accuracy_per_byte.published import CLASSES, IMAGES, METHODS, WHOLE_SET
from atom_distill.artifact.origins import origin_of
from atom_distill.base import markdown as md

_BASELINES = ("random", "k-means")
"""Methods that choose real images: they have columns beside the sets of the same form."""
_SAME_COMPUTE = "dm(same-compute,"

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
    parts = [f"### {title}" + ("" if is_published else f", {classes} classes"), _sizes(entries), _transfer(entries)]
    parts += [_others(entries), _commands(entries), _published(name) if is_published else ""]
    return "\n\n".join(part for part in parts if part)


def _sizes(entries: Sequence[Entry]) -> str:
    """Return the table of sets by size: protocol `dm`, ConvNet, class numbers."""
    main = [entry for entry in entries if _is_in_sizes(entry)]
    runs = _by_run(main)
    sets = [run for run in runs if run[0].method not in _BASELINES]
    beside = {id(entry) for run in sets for entry in _baselines(run, main).values()}
    rows = [_row(run, _baselines(run, main)) for run in runs if not any(id(entry) in beside for entry in run)]
    if not rows:
        return ""
    columns = [name for name in rows[0] if any(row[name] != "-" for row in rows)]
    return md.table(columns, [[row[name] for name in columns] for row in rows])


def _baselines(run: Sequence[Entry], entries: Sequence[Entry]) -> Mapping[str, Entry]:
    """Return the entries of real images in the form of a set, by method, judged as its first entry."""
    first = run[0]
    found = [entry for entry in entries if (entry.form, entry.protocol) == (first.form, first.protocol)]
    return {entry.method: entry for entry in found if entry.method in _BASELINES and entry.run != first.run}


def _row(run: Sequence[Entry], baselines: Mapping[str, Entry]) -> Mapping[str, str]:
    """Return the cells of a set by the names of their columns."""
    first = run[0]
    return {
        "set": f"{first.run}: {_made(first)}",
        "stored per class": f"{first.pictures:g} pictures, `{first.parameterization}`",
        "bytes per class": f"{first.stored_bytes / first.classes:,.0f}",
        "images at 8 bits": f"{first.images_8_bit:.2f}",
        "images at float32": f"{first.images_float32:.2f}",
        "`dm`, %": _accuracy(entry for entry in run if entry.protocol == "dm"),
        "`dm` at the same compute, %": _accuracy(entry for entry in run if entry.protocol != "dm"),
        **{f"{method}, %": _accuracy(e for name, e in baselines.items() if name == method) for method in _BASELINES},
        "networks": ", ".join(map(str, sorted({len(entry.runs) for entry in run}))),
        "minutes": _minutes(first),
    }


def _transfer(entries: Sequence[Entry]) -> str:
    """Return the table of other architectures by the protocol `dm`, with the ConvNet beside them."""
    networks = sorted({_network(entry) for entry in entries if _is_in_transfer(entry)})
    if not networks:
        return ""
    columns, rows = ["convnet", *networks], []
    for run in _by_run(entry for entry in entries if entry.protocol == "dm" and entry.labels == "hard"):
        cells = {_network(entry): _accuracy([entry]) for entry in run}
        if any(map(_is_in_transfer, run)):
            rows.append([f"{run[0].run}: {_made(run[0])}", *(cells.get(network, "-") for network in columns)])
    return f"Other architectures, protocol `dm`, %:\n\n{md.table(['set', *columns], rows)}"


def _others(entries: Sequence[Entry]) -> str:
    """Return the table of everything else: other protocols, and soft labels."""
    rows = []
    for entry in entries:
        if not _is_in_sizes(entry) and not _is_in_transfer(entry):
            how = [_network(entry), f"`{entry.protocol}`", entry.labels]
            rows.append([f"{entry.run}: {_made(entry)}", *how, _accuracy([entry]), str(len(entry.runs))])
    columns = ["set", "network", "protocol", "labels", "%", "networks"]
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


def _is_in_sizes(entry: Entry) -> bool:
    """Return whether a score is of the default ConvNet, of class numbers, and by `dm`, perhaps at the same compute."""
    judged = entry.protocol == "dm" or entry.protocol.startswith(_SAME_COMPUTE)
    return judged and _network(entry) == "convnet" and entry.labels == "hard"


def _is_in_transfer(entry: Entry) -> bool:
    """Return whether a score is of another network, of class numbers, and by `dm`."""
    return entry.protocol == "dm" and _network(entry) != "convnet" and entry.labels == "hard"


def _network(entry: Entry) -> str:
    shape = ", ".join(f"{name} {value}" for name, value in sorted(entry.shape.items()))
    return f"{entry.arch} ({shape})" if shape else entry.arch


def _made(entry: Entry) -> str:
    """Return how a set was made, in a few words."""
    steps = f", preset {entry.preset}, {entry.steps:,} steps" if entry.steps else ""
    return f"{entry.method}{steps}" + (", best on held-out images" if entry.which == "best" else "")


def _accuracy(entries: Iterable[Entry]) -> str:
    """Return the first accuracy, with its deviation where there are several networks."""
    entry = next(iter(entries), None)
    if entry is None:
        return "-"
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

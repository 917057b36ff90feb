"""Notes under a table: how its figures were made, and where that departs from the papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atom_distill.distillation.gradient_methods import GradientMethod
from atom_distill.distillation.methods import find_method
from atom_distill.distillation.selection_methods import HERDING, K_CENTER, RANDOM
from atom_distill.reproduce.cell import BEST, BEST_ROW, HELD_OUT_ROW, Result
from atom_distill.reproduce.comparisons import comparisons
from atom_distill.reproduce.cost import Cost
from atom_distill.reproduce.published_accuracies import DATADAM_CODE


def notes(cells: Sequence[Result | Cost]) -> list[str]:
    """Return the notes of a table, one sentence or two each."""
    results = [cell for cell in cells if isinstance(cell, Result)]
    lines = ["Seconds per step, and the most memory that the process held."] if len(results) < len(cells) else []
    if results:
        lines += [*_published_notes(results), *_protocol_notes(results), *comparisons(results)]
    if any(_updates_several_times(cell) for cell in cells):
        lines.append(
            "A step of dc and dsa is a network with as many updates of the images as there are images per class."
        )
    return lines


def _published_notes(results: Sequence[Result]) -> list[str]:
    """Return notes on what the accuracies are, and how the published ones were obtained."""
    compared = [result for result in results if result.published]
    lines = [
        "Test accuracy in percent, mean and standard deviation over networks, after the last step and the last epoch"
        + (", in parentheses as published." if compared else ".")
    ]
    if any(result.row == BEST_ROW for result in results):
        lines.append(
            f"{BEST_ROW}: of the evaluations of a run on held-out training images, the images that did best; the row "
            f"{HELD_OUT_ROW} has the last images of the same run, which makes do with the other training images."
        )
    if any(result.settings["method"] in DATADAM_CODE for result in compared):
        lines.append(
            "The published DataDAM code, on which ATOM builds, reports the best evaluation on the test split in a run."
        )
    if any(_is_whitened_otherwise(result) for result in compared):
        lines.append(
            "Published with channel normalization: random, herding, dc, dsa and dm; with ZCA on CIFAR: datadam and "
            "atom. A cell with the other preprocessing stands beside a figure that was measured differently."
        )
    return lines


def _protocol_notes(results: Sequence[Result]) -> list[str]:
    """Return a note on how networks were trained, and on what."""
    properties: dict[str, Callable[[Result], str]] = {
        "Networks per cell": lambda result: str(len(result.runs)),
        "Protocol": lambda result: result.protocol,
        "Precision of their convolutions": lambda result: result.precision,
        "Preprocessing": lambda result: result.preprocess,
        "Steps": _steps,
    }
    lines = [f"{name}: {_grouped(results, value)}." for name, value in properties.items()]
    if any(result.row == BEST for result in results):
        lines.append(
            "Best: ATOM with the preset best. Its sets take one byte per value of an uncompressed image, a quarter of "
            "float32."
        )
    if any(result.settings["method"] == RANDOM.name for result in results):
        lines.append("Random: each network is trained on a random subset of its own.")
    nearest = (HERDING.name, K_CENTER.name)
    if any(result.settings["method"] in nearest and result.settings["ipc"] == 1 for result in results):
        lines.append("At ipc 1 herding and k-center both take the image nearest to its class's mean embedding.")
    return lines


def _is_whitened_otherwise(result: Result) -> bool:
    whitened = result.settings["method"] in DATADAM_CODE and not result.column.startswith("tiny-imagenet")
    return whitened != (result.preprocess == "zca")


def _steps(result: Result) -> str:
    if result.steps == 0:
        return "none (real images)"
    if "preset" in result.settings:
        return f"{result.steps}, with the preset {result.settings['preset']}"
    published = find_method(result.settings["method"]).published_steps
    return f"{result.steps}" if result.steps == published else f"{result.steps} of the published {published}"


def _updates_several_times(cell: Result | Cost) -> bool:
    """Return whether a step updates the images several times: gradient matching does once per image of a class."""
    return cell.settings["ipc"] > 1 and isinstance(find_method(cell.settings["method"]), GradientMethod)


def _grouped(results: Sequence[Result], value: Callable[[Result], str]) -> str:
    """Return a property: its value if all results share it, or each value with its rows, columns, or cells."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(value(result), []).append(result)
    if len(groups) == 1:
        return next(iter(groups))
    labels: tuple[Callable[[Result], str], ...] = (lambda r: r.row, lambda r: r.column, lambda r: f"{r.row}/{r.column}")
    for label in labels:
        named = {each: list(dict.fromkeys(map(label, members))) for each, members in groups.items()}
        if sum(map(len, named.values())) == len(set(map(label, results))):
            break  # no row or column has two values
    return "; ".join(f"{each}: {', '.join(names)}" for each, names in named.items())

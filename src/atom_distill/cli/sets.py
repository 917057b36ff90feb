"""`atom sets`: list the distilled sets that come with the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from atom_distill.cli.options import JsonFlag, parse
from atom_distill.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset

_DESCRIPTION = (
    "List the distilled sets that come with the package: total bytes, pictures, test accuracies by network, "
    "and the command that made each. Their names can be used wherever a command takes a run folder."
)


class SetsCommand(BaseModel):
    """Options of `atom sets`."""

    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom sets`."""
    options = parse(SetsCommand, command="sets", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.artifact.bundled import bundled_folder, bundled_names, load_distilled

    sets = {name: load_distilled(name) for name in bundled_names()}
    facts = [{"name": name, "folder": str(bundled_folder(name)), **_facts(tiny)} for name, tiny in sets.items()]
    if options.json_output:
        print_json({"sets": facts})
        return
    rows = [row for each in facts for row in _rows(each)]
    print_table(
        "distilled sets that come with the package",
        ["name", "bytes", "pictures", "network", "test, %", "runs", "protocol"],
        rows,
    )
    for each in facts:
        print_line(f"{each['name']}: {each['command']}")
    print_line("next: atom evaluate NAME, atom report NAME, or in Python atom_distill.load_distilled(NAME)")


def _facts(tiny: DistilledDataset) -> dict[str, Any]:
    """Return what is known of a set, as JSON values."""
    return {
        "dataset": tiny.dataset.get("name"),
        "bytes": tiny.stored_bytes,
        "images": len(tiny),
        "classes": len(tiny.class_names),
        "command": tiny.record.get("command"),
        "atom_distill": tiny.record.get("atom_distill"),
        "scores": [score.model_dump(mode="json") for score in tiny.scores],
    }


def _rows(facts: Mapping[str, Any]) -> list[list[str]]:
    """Return a row for each score of a set; the first one names the set."""
    first = [facts["name"], f"{facts['bytes']:,}", f"{facts['images']:,}"]
    scores = [_score_cells(**score) for score in facts["scores"] if score["subject"] == "distilled"]
    return [(first if number == 0 else [""] * len(first)) + cells for number, cells in enumerate(scores)]


def _score_cells(
    arch: str, labels: str, mean: float, std: float, runs: Sequence[float], protocol: Mapping[str, Any], **_: Any
) -> list[str]:
    """Return the cells of a score; a single network has no deviation."""
    accuracy = f"{mean:.1f} +- {std:.1f}" if len(runs) > 1 else f"{mean:.1f}"
    soft = ", soft labels" if labels == "soft" else ""
    return [arch, accuracy + soft, str(len(runs)), protocol["name"]]

"""`atom sets`: list the distilled sets that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atom_distill.cli.options import CommandOptions, JsonFlag, parse
from atom_distill.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from atom_distill.artifact.distilled import DistilledDataset
    from atom_distill.artifact.scores import Score

_DESCRIPTION = (
    "List the distilled sets that come with the package: total bytes, pictures, test accuracies by network, "
    "and the command that made each. Their names can be used wherever a command takes a run folder."
)


class SetsCommand(CommandOptions):
    """Options of `atom sets`."""

    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom sets`."""
    options = parse(SetsCommand, command="sets", description=_DESCRIPTION, arguments=arguments)
    from atom_distill.artifact.bundled import bundled_folder, bundled_names, load_distilled

    sets = {name: load_distilled(name) for name in bundled_names()}
    if options.json_output:
        facts = [{"name": name, "folder": str(bundled_folder(name)), **_facts(tiny)} for name, tiny in sets.items()]
        print_json({"sets": facts})
        return
    print_table(
        "distilled sets that come with the package",
        ["name", "bytes", "pictures", "network", "test, %", "runs", "protocol"],
        [row for name, tiny in sets.items() for row in _rows(name, tiny)],
    )
    for name, tiny in sets.items():
        print_line(f"{name}: {tiny.record.get('command')}")
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


def _rows(name: str, tiny: DistilledDataset) -> list[list[str]]:
    """Return a row for each score of a set; the first one names the set."""
    first = [name, f"{tiny.stored_bytes:,}", f"{len(tiny):,}"]
    scores = [_score_cells(score) for score in tiny.scores if score.subject == "distilled"]
    return [(first if number == 0 else [""] * len(first)) + cells for number, cells in enumerate(scores)]


def _score_cells(score: Score) -> list[str]:
    soft = ", soft labels" if score.labels == "soft" else ""
    return [score.network, score.summary + soft, str(len(score.runs)), score.protocol.name]

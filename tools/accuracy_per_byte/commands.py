"""The commands that make a run and its scores again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from atom_distill.artifact.distilled import DistilledDataset
from atom_distill.artifact.scores import Score
from atom_distill.base.errors import ConfigError
from atom_distill.exporting.private_paths import command_without_folders

SAME_COMPUTE = "same-compute"
"""In the name of a protocol."""
_PROTOCOL = re.compile(r"([\w:.-]+)((?:\([^()]*\))*)")
_OF_A_MACHINE = ("--out", "--data-dir")
"""Options of `atom distill` that name places, and change nothing else."""


def commands_of(distilled: DistilledDataset, score: Score, shape: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the commands that make a run and a score, with a folder of the run's name below runs/."""
    assert distilled.folder is not None
    place = f"runs/{distilled.folder.resolve().name}"
    made = distilled.record.get("command")
    words = ["atom", "evaluate", place, "--repeats", str(len(score.runs)), *_protocol_options(score.protocol.name)]
    words += ["--arch", score.arch] if score.arch != "convnet" else []
    words += [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    words += ["--which", score.which] if score.which != "last" else []
    words += ["--hard-labels"] if distilled.soft_labels is not None and score.labels == "hard" else []
    words += ["--seed", str(score.seed)] if score.seed else []
    return (*([repeatable(str(made), place)] if made else []), shlex.join(words))


def repeatable(command: str, place: str) -> str:
    """Return a command of `atom distill` as anybody can give it.

    The result goes to another folder, and the data set is looked for where named sets are. Of other paths, only the
    names stay. Other commands keep all their options.
    """
    words = shlex.split(command_without_folders(command))
    if words[:2] != ["atom", "distill"]:
        return shlex.join(words)
    kept, rest = [], iter(words)
    for word in rest:
        if word in _OF_A_MACHINE:
            next(rest, None)
        elif not word.startswith(tuple(f"{name}=" for name in _OF_A_MACHINE)) and word != "--resume":
            kept.append(word)
    return shlex.join([*kept, "--out", place])


def _protocol_options(name: str) -> list[str]:
    """Return the options of `atom evaluate` for a protocol by its name, e.g. "dm(epochs=300)(same-compute,epochs=21)".

    Raises:
        ConfigError: the name is not of this form.
    """
    found = _PROTOCOL.fullmatch(name)
    if found is None:
        raise ConfigError(f"the protocol {name!r} has no options of `atom evaluate`; evaluate with a named protocol")
    options = ["--protocol", found[1]] if found[1] != "dm" else []
    for group in re.findall(r"\(([^()]*)\)", found[2]):
        changes = group.split(",")
        if changes[0] == SAME_COMPUTE:
            options.append("--same-compute")  # the epochs follow
            continue
        for change in changes:
            field, _, value = change.partition("=")
            options += [f"--{field.replace('_', '-')}", value]
    return options

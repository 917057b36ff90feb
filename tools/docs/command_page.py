"""The reference of commands, made of what each command says under `--help`."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from atom_distill.base import markdown
from atom_distill.cli.main import main
from cells import cell

_COLUMNS = "100"
"""Of the terminal that the help is written for: on a wider one frames stand side by side."""
_DEFAULT = re.compile(r"(.*?) ?\((?:default: (.*)|(required|none, give it|one or more))\)")
_WORDS = {"False": "off", "True": "on", "None": "-"}


@dataclass
class Option:
    """An option or an argument: how it is written, what it means, what it is where it is left out."""

    names: str
    meaning: str = ""
    default: str = ""


@dataclass
class Group:
    """Options that stand under one title."""

    title: str
    text: str = ""
    options: list[Option] = field(default_factory=list)


@dataclass
class Help:
    """What a command says of itself."""

    command: str
    usage: str
    description: str
    groups: list[Group]


def command_names() -> list[str]:
    """Give the commands, in the order in which `atom --help` lists them."""
    listed = said([]).split("commands:")[1].split("options:")[0]
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def help_of(command: str) -> Help:
    """Read what `atom COMMAND --help` prints."""
    told, boxes = said([command, "--help"]).split("╭", 1)
    usage, description = (part.strip() for part in told.split("\n\n", 1))
    return Help(command, usage.removeprefix("usage: "), description, [_group(box) for box in boxes.split("╭")])


def command_page() -> str:
    """Write the reference as Markdown."""
    return "\n\n".join(part for name in command_names() for part in _section(help_of(name)))


def said(arguments: list[str]) -> str:
    """Give what `atom` prints, without colors."""
    out, columns = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _COLUMNS
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main(arguments)
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    out.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.read())


def _section(told: Help) -> Iterator[str]:
    yield f"## atom {told.command}"
    yield cell(told.description)
    yield f"```text\n{told.usage}\n```"
    for group in told.groups:
        yield f"**{group.title.capitalize()}.** {cell(group.text)}".strip()
        rows = [[f"`{one.names}`", cell(one.meaning), cell(one.default)] for one in group.options]
        yield markdown.table(["", "meaning", "default"], rows)


def _group(box: str) -> Group:
    """Read a frame: its title, a text above a rule if it has one, and options with their texts beside or below."""
    title, *lines = box.splitlines()
    rows = [line.removeprefix("│ ").removesuffix("│").rstrip() for line in lines if line.startswith("│")]
    group = Group(title.strip("─╮ "))
    rule = next((number for number, row in enumerate(rows) if row and not row.strip("─")), None)
    if rule is not None:
        group.text, rows = " ".join(rows[:rule]), rows[rule + 1 :]
    for row in rows:
        names, _, meaning = row.partition("  ")
        if names:
            group.options.append(Option(names))
        last = group.options[-1]
        last.meaning = f"{last.meaning} {meaning.strip()}".strip()
    for option in group.options:
        if found := _DEFAULT.fullmatch(option.meaning):
            default = found[2] or found[3] or "None"
            option.meaning, option.default = found[1], _WORDS.get(default, default)
    return group

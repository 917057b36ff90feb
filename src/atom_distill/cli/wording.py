"""Errors of the library in the words of the command line: arguments become options."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

_ARGUMENT = re.compile(r'`(\w+)(?:="?([^`"]*)"?)?`')


def as_options(message: str, flags: Mapping[str, str]) -> str:
    """Return a message with options in place of the arguments that it names.

    The library writes an argument in backquotes, with or without a value: `image_size`, `ipc=10`, `init="noise"`,
    `resume=True`. These become --image-size, --ipc 10, --init noise and --resume. Other backquotes stay.

    Args:
        message: of an error.
        flags: the option of each argument that is to be replaced.
    """

    def option(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in flags:
            return found[0]
        return flags[name] if value in (None, "True") else f"{flags[name]} {value}"

    return _ARGUMENT.sub(option, message)


def flags_of(command: str) -> dict[str, str]:
    """Return the option of each argument of a command, e.g. {"image_size": "--image-size"}.

    They are the fields of the class that the command parses, `DataCommand` for `data`, and the settings of all methods.
    Positional arguments have none.
    """
    module = sys.modules.get(f"atom_distill.cli.{command}")
    if module is None:
        return {}
    models = [getattr(module, f"{command.capitalize()}Command"), *getattr(module, "method_settings", list)()]
    return {name: flag for model in models for name, flag in _flags(model)}


def _flags(options: type[BaseModel]) -> Iterator[tuple[str, str]]:
    import tyro
    from pydantic import BaseModel

    for name, info in options.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _flags(info.annotation)
        elif tyro.conf.Positional not in info.metadata:
            renamed = [told for mark in info.metadata if (told := getattr(mark, "name", None))]
            yield name, "--" + (renamed[0] if renamed else name).replace("_", "-")

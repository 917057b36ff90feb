"""Folders of one's own machine, which others should not see: of absolute paths, only the last part is published."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def without_folders(value: Any) -> Any:
    """Return a copy of JSON-like content in which every absolute path is cut to its last part, but for class names."""
    if isinstance(value, Mapping):
        return {name: part if name == "classes" else without_folders(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part) for part in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def command_without_folders(command: str) -> str:
    """Return a command in which every absolute path is cut to its last part, also in `--out=/home/me/run`."""
    words = shlex.split(command)
    return shlex.join(
        without_folders(word) if Path(word).is_absolute() else "=".join(map(without_folders, word.split("=")))
        for word in words
    )

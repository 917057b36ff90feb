"""Warnings of Pillow, each with the name of the file that it is about."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from atom_distill.base.progress import note

_CATEGORIES = (UserWarning, RuntimeWarning)
"""Of Pillow's warnings about files; others are for its callers."""


class PillowWarnings:
    """Collects warnings while images are read, in any thread, and prints one note for each text.

    Python itself would show the line of Pillow that warns, and only the first time.
    """

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}
        self._reading = threading.local()

    @contextlib.contextmanager
    def about(self, name: str) -> Iterator[None]:
        """Attribute warnings of this thread to a file."""
        self._reading.name = name
        try:
            yield
        finally:
            self._reading.name = None

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Collect warnings of all threads; those that are about no file are shown as usual."""
        with warnings.catch_warnings():
            for category in _CATEGORIES:
                warnings.filterwarnings("always", category=category)
            show = warnings.showwarning

            def keep(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
                name = getattr(self._reading, "name", None)
                if name is None or not issubclass(category, _CATEGORIES):
                    show(message, category, *place, **more)
                else:
                    self._files.setdefault(" ".join(str(message).split()), []).append(name)

            warnings.showwarning = keep
            yield

    def print_notes(self) -> None:
        """Print each text once, with the first file and the number of others."""
        for text, names in self._files.items():
            others = f" and {len(names) - 1} more" if len(names) > 1 else ""
            note(f"{names[0]}{others}: {text}")

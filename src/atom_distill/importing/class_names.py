"""Classes by the numbers in their names, and names that are nearly those of classes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence


def numbers_in(names: Sequence[str]) -> dict[str, int] | None:
    """Return the number at the end of each name, if all have a different one, with the same text before it."""
    found = [match for name in names if (match := re.fullmatch(r"(\D*)([0-9]+)", name))]
    numbers = {match[0]: int(match[2]) for match in found}
    alike = len(found) == len(names) and len({match[1] for match in found}) == 1
    return numbers if alike and len(set(numbers.values())) == len(names) else None


def labels_of_numbers(numbers: Sequence[int], class_names: Sequence[str]) -> list[int]:
    """Return the labels that numbers stand for.

    Where the names of the classes are numbers themselves, a number is that of a name, since names sorted as text ("0",
    "1", "10", "2") are not in the order of their numbers. Everywhere else it is the label.
    """
    in_names = numbers_in(class_names) or {}
    label_of = {number: label for label, number in enumerate(in_names.values())}
    return [label_of[number] for number in numbers] if set(numbers) <= set(label_of) else list(numbers)


def spelling_hint(name: str, class_names: Sequence[str]) -> str:
    """Return how a name differs from that of a class, if only in case or Unicode form; else empty."""
    for known in class_names:
        if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", known):
            return f" (differs only in Unicode form, NFC or NFD, from the class {known!r})"
        if _folded(name) == _folded(known):
            return f" (differs only in case from the class {known!r})"
    return ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

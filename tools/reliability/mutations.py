"""Damage, drawn from a generator: of bytes, and of values as JSON and YAML hold them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

_HUGE = (2**31, 2**32 + 1, 2**63 - 1, 2**64, 10**30)
STRANGE_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 3, 1.5, 1e308, float("nan"), float("inf"), *_HUGE,
    "", "1", "nan", "\x00", "[/x]", "[bold]", "a/../../b", "\u202e\U0001f40d", "x" * 5000, "two\nlines",
    [], [[]], [None], {}, {"a": {}}, list(range(2000)),
)  # fmt: skip
"""In place of a value: other types, and values that are out of any range."""
_ENDS = 64
"""Bytes at the beginning that are the header of most formats."""


def damage_bytes(content: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to three kinds of damage."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(_DAMAGES)(content, draw)
    return content


def damage_text(text: str, draw: random.Random) -> str:
    """Return text with damaged bytes, as UTF-8 if it still is."""
    return damage_bytes(text.encode(), draw).decode(errors="surrogateescape")


def damage_value(value: Any, draw: random.Random) -> Any:
    """Return a copy of a value of lists and dictionaries in which one place is removed, added, moved, or strange."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return draw.choice(STRANGE_VALUES)
    holder, key = draw.choice(places)
    action = draw.randrange(5)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, dict):
        holder[draw.choice(("", "x" * 300, "new", "1"))] = holder.pop(key)
    elif action == 2:
        holder[key] = copy.deepcopy(draw.choice([other[at] for other, at in places]))
    else:
        holder[key] = draw.choice(STRANGE_VALUES)
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return each list or dictionary with each of its keys, to any depth."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 8, 64))):
        changed[_position(len(changed), draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _overwrite(content: bytes, draw: random.Random) -> bytes:
    at, length = _position(len(content) + 1, draw), draw.choice((1, 2, 4, 8))
    filled = draw.choice((b"\xff" * length, b"\0" * length, b"\x7f" + b"\xff" * (length - 1), draw.randbytes(length)))
    return content[:at] + filled + content[at + length :]


def _truncate(content: bytes, draw: random.Random) -> bytes:
    return content[: _position(len(content) + 1, draw)]


def _insert(content: bytes, draw: random.Random) -> bytes:
    at = _position(len(content) + 1, draw)
    return content[:at] + draw.randbytes(draw.choice((1, 4, 100, 5000))) + content[at:]


def _delete(content: bytes, draw: random.Random) -> bytes:
    at = _position(len(content) + 1, draw)
    return content[:at] + content[at + draw.choice((1, 4, 100, 5000)) :]


def _duplicate(content: bytes, draw: random.Random) -> bytes:
    at = _position(len(content) + 1, draw)
    return content[:at] + content[max(0, at - draw.choice((8, 100, 5000))) :]


def _swap_halves(content: bytes, draw: random.Random) -> bytes:
    at = _position(len(content) + 1, draw)
    return content[at:] + content[:at]


def _other_header(content: bytes, draw: random.Random) -> bytes:
    header = draw.choice(
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1", b"\x80\x02")
    )
    return header + content[draw.choice((0, len(header))) :]


def _position(length: int, draw: random.Random) -> int:
    """Return a position; each second one is in the header, or in the footer that zip and parquet have."""
    if draw.random() < 0.5:
        return draw.randrange(length)
    near = draw.randrange(min(length, _ENDS))
    return near if draw.random() < 0.7 else length - 1 - near


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _overwrite, _overwrite, _truncate, _insert, _delete, _duplicate, _swap_halves, _other_header,
)  # fmt: skip

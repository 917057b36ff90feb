"""Text from outside, such as class names and paths, made fit to be printed."""

from __future__ import annotations

import unicodedata

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, bytes of a file name that are not UTF-8, line and paragraph separators."""


def one_line(text: str) -> str:
    r"""Return text without line breaks and control characters; these become escapes as in Python, e.g. `\n`."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNPRINTABLE else char for char in text
    )


def valid_text(text: str) -> str:
    r"""Return text that UTF-8 can encode; bytes of a file name that are not UTF-8 become escapes, e.g. `\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(text: str, most_bytes: int) -> str:
    """Return the beginning of a valid text, at most so many bytes of UTF-8, cut between two characters."""
    return text.encode()[:most_bytes].decode(errors="ignore")


def abbreviated(text: str, most: int) -> str:
    """Return a text on one line, cut to at most so many characters."""
    line = one_line(text)
    return line if len(line) <= most else line[: most - 3] + "..."


def reason_of(error: BaseException) -> str:
    """Return what an error of another library says, on one line of at most 300 characters; its type if nothing."""
    return abbreviated(" ".join(str(error).split()), 300) or type(error).__name__

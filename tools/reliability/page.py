"""The paragraph of the documentation that says what a campaign found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BEGINNING = "**Reliability.**"


def paragraph(counts: Mapping[str, Any]) -> str:
    """Return the paragraph for the counts of all parts of a campaign."""
    kills, damaged, faults = counts["kills"], counts["damaged"], counts["faults"]
    pairs = sum(number for name, number in kills["by_variety"].items() if "2 processes" in name)
    return (
        f"{_BEGINNING} `tools/campaign.py` ([counts](../results/reliability.json)) killed {kills['runs']:,} runs, "
        f"{pairs} of them with two processes, by SIGKILL at random moments: {_well(kills['runs'], kills)}, continued "
        f"with `--resume`, ended with the same bits as an uninterrupted run. It damaged {damaged['inputs']:,} inputs "
        f"(images, archives, tables, run folders, command lines): {_well(damaged['inputs'], damaged)} were either read "
        f"or rejected with one line that says what is wrong, within {damaged['slowest_s']:.0f} seconds and "
        f"{damaged['most_memory_mib']:,} MiB of memory. It made the disk full, read-only or failing at "
        f"one in {faults['every']} of the changes to files that commands make, {faults['failures']:,} times in all: "
        f"{_well(faults['failures'], faults)} commands lost no existing data, and succeeded when run again."
    )


def _well(tried: int, part: Mapping[str, Any]) -> str:
    return f"{tried - len(part['problems']):,} of {tried:,}"


def write_paragraph(page: Path, counts: Mapping[str, Any]) -> None:
    """Put the paragraph in the place of the old one, on a line of its own.

    Raises:
        ValueError: the page has none.
    """
    lines = page.read_text(encoding="utf-8").split("\n")
    at = [number for number, line in enumerate(lines) if line.startswith(_BEGINNING)]
    if len(at) != 1:
        raise ValueError(f"{page} should have one line that begins with {_BEGINNING}")
    lines[at[0]] = paragraph(counts)
    page.write_text("\n".join(lines), encoding="utf-8")

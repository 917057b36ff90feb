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
        f"{_BEGINNING} `tools/campaign.py` ([counts](../results/reliability.json)) ended {kills['runs']:,} runs with "
        f"SIGKILL, {pairs} of them of 2 processes, at random moments of {len(kills['killed_while'])} phases: "
        f"{_well(kills['runs'], kills)} went on with `--resume` to the bits of a run that was left alone. Of "
        f"{damaged['inputs']:,} damaged inputs (images, archives, tables, run folders, command lines), "
        f"{_well(damaged['inputs'], damaged)} were read, or refused with one line that says what is wrong, within "
        f"{damaged['slowest_s']:.0f} s and {damaged['most_memory_mib']:,} MiB. At {faults['failures']:,} changes of "
        f"files (1 in {faults['every']} of all that the commands make) the disk was full or read-only, or failed: "
        f"{_well(faults['failures'], faults)} commands kept all that there was, and succeeded when "
        "they were given again."
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

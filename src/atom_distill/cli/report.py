"""`atom report`: runs as one page that needs no network and no server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import BaseModel, Field

from atom_distill.base.errors import ConfigError
from atom_distill.cli.options import JsonFlag, parse, shown
from atom_distill.cli.output import print_json, print_line

_DESCRIPTION = (
    "Show runs as one page: images beside their initial and nearest real images, their evolution, attention, curves, "
    "scores and settings. The page is one file, works without network, and can be handed on."
)

_MARK = b'<meta name="generator" content="atom-distill">'
"""In the head of every page of ours, which may be written anew."""
_HEAD = 1000


class ReportCommand(BaseModel):
    """Options of `atom report`."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = Field(description="Run folders, one or more; several are compared.")
    out: Path = Field(default=Path("report.html"), description="The page.")
    images: Annotated[int | None, shown("as many as keep the page light")] = Field(
        default=None, ge=1, description="Images shown at most, of all runs together; the first of each class."
    )
    json_output: JsonFlag = Field(default=False, description="Print one JSON object on standard output.")


def command(arguments: Sequence[str]) -> None:
    """Run `atom report`."""
    options = parse(ReportCommand, command="report", description=_DESCRIPTION, arguments=arguments)
    check_page(options.out)
    from atom_distill.base.files import write_text
    from atom_distill.report.render import make_report

    report = make_report(options.runs, most_images=options.images, caller="atom report")
    write_text(options.out, report.html)
    size = options.out.stat().st_size
    if options.json_output:
        print_json({"page": options.out, "bytes": size, "runs": list(report.missing), "missing": report.missing})
        return
    for folder, lines in report.missing.items():
        for line in lines:
            print_line(f"not shown of {folder}: {line}")
    print_line(f"{options.out} ({size / 1e6:.1f} MB), for any browser")


def check_page(out: Path) -> None:
    """Refuse a name that no browser would open as a page, and one under which there is something else already.

    Raises:
        ConfigError: it does not end in .html, or what is there is no report.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out is a page: give a name that ends in .html, got {out}")
    if out.is_dir() or (out.exists() and _MARK not in out.read_bytes()[:_HEAD]):
        raise ConfigError(f"{out} is there already and is no report: give another --out, or move it away")
